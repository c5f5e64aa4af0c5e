//! One capture file of either format, plain or compressed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::time::Timestamp;

use super::blocks::{Blocks, Mappable, Tap};
use super::compress::{self, Compression};
use super::mapped::Pages;
use super::packets::length_of;
use super::pcap::{self, Pcap};
use super::pcapng::{self, Pcapng, Secrets};
use super::record::{Damage, Parsed, Record};
use super::run::Taken;

/// Reads the frames of one file.
pub(super) struct CaptureFile {
    blocks: Blocks,
    format: Format,
    compressed: bool,
    last: Timestamp,
    /// Frames so far; the number of the last one.
    pub(super) number: u64,
    /// Their captured bytes.
    captured: u64,
}

/// What stops or interrupts a file.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It is none of the formats that are read.
    NotACapture,
    /// The system gave an error.
    Io(io::Error),
    /// Damage at a byte of the (decompressed) stream; reading may go on behind it.
    Damaged(u64, Damage),
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Box<Pcapng>),
    /// The first bytes are not yet looked at.
    Unknown,
    Ended,
}

impl CaptureFile {
    /// A file that begins at the current position of `input`; reads `block` bytes at once and adds what it reads to
    /// `progress`.
    pub(super) fn new(input: Box<dyn Read + Send>, block: usize, progress: Arc<AtomicU64>) -> Self {
        let (input, compressed) = decompressed(Box::new(Tap { input, progress }));
        let blocks = Blocks::new(input, block);
        Self { blocks, format: Format::Unknown, compressed, last: Timestamp(0), number: 0, captured: 0 }
    }

    /// The input is this file, which is read to its end without other files in between.
    pub(super) fn read_alone(&mut self, file: File, progress: Arc<AtomicU64>) {
        if !self.compressed {
            let counted = u64::try_from(compress::MAGIC_LENGTH).unwrap_or(0);
            self.blocks.map_rest(Mappable { file, progress, counted });
        }
    }

    /// Where its bytes lie, for other threads.
    #[inline]
    pub(super) fn pages(&self) -> Option<&Arc<Pages>> {
        self.blocks.pages()
    }

    /// To be called after every pause.
    pub(super) fn refresh(&mut self) {
        self.blocks.refresh();
    }

    /// What was read of a classic file and not given yet.
    pub(super) fn at_hand(&self) -> Option<(Pcap, &[u8])> {
        match &self.format {
            Format::Pcap(pcap) => Some((*pcap, self.blocks.available())),
            _ => None,
        }
    }

    /// Moves on over frames of a classic file that were taken from what [`Self::at_hand`] lent; returns their bytes.
    pub(super) fn take(&mut self, taken: Taken) -> u64 {
        let Format::Pcap(pcap) = &self.format else { return 0 };
        self.blocks.consume(taken.bytes);
        self.number += taken.frames;
        let headers = taken.frames.saturating_mul(pcap.record_header());
        let captured = u64::try_from(taken.bytes).unwrap_or(0).saturating_sub(headers);
        self.captured = self.captured.saturating_add(captured);
        captured
    }

    /// The next frame, `None` at the end. After trouble the next call goes on where that is possible, else ends.
    #[inline(never)]
    pub(super) fn advance(&mut self) -> Result<Option<Record>, Trouble> {
        loop {
            let available = self.blocks.available();
            let parsed = match &mut self.format {
                Format::Pcap(pcap) => pcap.parse(available),
                Format::Pcapng(pcapng) => pcapng.parse(available),
                Format::Ended => return Ok(None),
                Format::Unknown => {
                    self.recognise()?;
                    continue;
                }
            };
            match parsed {
                Parsed::Record(mut record) => {
                    self.blocks.consume(record.size);
                    if record.time_known {
                        self.last = record.timestamp;
                    } else {
                        record.timestamp = self.last;
                    }
                    self.number += 1;
                    self.captured = self.captured.saturating_add(u64::try_from(record.length).unwrap_or(0));
                    return Ok(Some(record));
                }
                Parsed::Other(size) => self.blocks.consume(size),
                Parsed::Skip(size) => {
                    let offset = self.blocks.offset();
                    if !self.blocks.skip(u64::from(size)) {
                        return self.end_at(offset, Some(Damage::Cut));
                    }
                }
                Parsed::Need(need) => {
                    if !self.blocks.fill(need) {
                        return self.cut();
                    }
                }
                Parsed::Bad(damage) => {
                    let offset = self.blocks.offset();
                    self.go_on_behind_damage();
                    return Err(Trouble::Damaged(offset, damage));
                }
            }
        }
    }

    /// The bytes of the frame that [`Self::advance`] gave last.
    #[inline(always)]
    pub(super) fn data(&self, record: &Record) -> &[u8] {
        self.blocks.used(record.behind, record.length)
    }

    /// Closes the file, with the last frame kept; it is opened again when the frame after that is asked for.
    pub(super) fn suspend(&mut self, record: &Record, path: &Path) {
        let offset = self.blocks.offset();
        let input = Reopened { path: path.to_owned(), compressed: self.compressed, offset, input: None };
        self.blocks.suspend(record.size, Box::new(input));
    }

    /// The name of an interface, if the file tells it.
    pub(super) fn interface_name(&self, interface: u32) -> Option<&str> {
        match &self.format {
            Format::Pcapng(pcapng) => pcapng.name(interface),
            _ => None,
        }
    }

    /// Decryption Secrets Blocks so far.
    pub(super) fn secrets(&self) -> &[Secrets] {
        match &self.format {
            Format::Pcapng(pcapng) => pcapng.secrets(),
            _ => &[],
        }
    }

    /// Whether it is a classic file without compression, as far as it was read.
    pub(super) fn is_plain(&self) -> bool {
        !self.compressed && matches!(self.format, Format::Pcap(_))
    }

    /// Bytes of the frames that were read, as [`Packets`](super::Packets) gives them.
    pub(super) fn content_length(&self) -> u64 {
        length_of(self.number, self.captured)
    }

    /// What stays known of a file that was read: the names of its interfaces, its secrets.
    pub(super) fn into_remains(self) -> (Vec<Option<String>>, Vec<Secrets>) {
        match self.format {
            Format::Pcapng(pcapng) => pcapng.into_names(),
            _ => Default::default(),
        }
    }

    /// Looks at the first bytes and leaves them, if they are a section header, else uses up the file header.
    fn recognise(&mut self) -> Result<(), Trouble> {
        if !self.blocks.fill(4) {
            let nothing = self.blocks.available().is_empty();
            return match self.end(None) {
                Ok(_) if nothing => Ok(()),
                Ok(_) => Err(Trouble::NotACapture),
                Err(trouble) => Err(trouble),
            };
        }
        let magic = *self.blocks.available().first_chunk::<4>().unwrap_or(&[0; 4]);
        if magic == pcapng::SECTION {
            self.format = Format::Pcapng(Box::new(Pcapng::new()));
            return Ok(());
        }
        if !Pcap::recognises(magic) {
            self.format = Format::Ended;
            return Err(Trouble::NotACapture);
        }
        if !self.blocks.fill(pcap::HEADER) {
            return self.end(Some(Damage::Cut)).map(|_| ());
        }
        self.format = self.blocks.available().first_chunk().and_then(Pcap::new).map_or(Format::Ended, Format::Pcap);
        self.blocks.consume(pcap::HEADER);
        Ok(())
    }

    /// Fewer bytes are left than the next record claims.
    fn cut(&mut self) -> Result<Option<Record>, Trouble> {
        let left = self.blocks.available().len();
        if left >= 12 && matches!(self.format, Format::Pcapng(_)) && !self.blocks.has_failed() {
            // Perhaps only the length is wrong: what follows may hold whole blocks.
            let offset = self.blocks.offset();
            self.go_on_behind_damage();
            return Err(Trouble::Damaged(offset, Damage::Cut));
        }
        let damage = if self.blocks.is_shorter_than_it_was() { Damage::Shortened } else { Damage::Cut };
        self.end((left > 0 || damage == Damage::Shortened).then_some(damage))
    }

    /// The input is used up: tells why, if not because the file is over.
    fn end(&mut self, damage: Option<Damage>) -> Result<Option<Record>, Trouble> {
        self.end_at(self.blocks.offset(), damage)
    }

    /// The same; the record in which it ends begins at `offset`.
    fn end_at(&mut self, offset: u64, damage: Option<Damage>) -> Result<Option<Record>, Trouble> {
        // The interfaces of a pcapng file stay known; nothing more is read of it, so it ends again next time.
        self.blocks.consume(usize::MAX);
        if !matches!(self.format, Format::Pcapng(_)) {
            self.format = Format::Ended;
        }
        match self.blocks.take_failure() {
            Some(error) if self.compressed => {
                Err(Trouble::Damaged(offset, Damage::Compression { reason: error.to_string() }))
            }
            Some(error) => Err(Trouble::Io(error)),
            None => damage.map_or(Ok(None), |damage| Err(Trouble::Damaged(offset, damage))),
        }
    }

    /// pcapng can go on at the next plausible block, wherever it begins: bytes may be missing; in a classic file nothing tells where records begin.
    fn go_on_behind_damage(&mut self) {
        let Format::Pcapng(pcapng) = &self.format else {
            self.format = Format::Ended;
            return;
        };
        self.blocks.consume(1);
        loop {
            match pcapng.plausible(self.blocks.available()) {
                Ok(true) => return,
                Ok(false) => self.blocks.consume(1),
                Err(need) if self.blocks.fill(need) => {}
                // The claim of this place exceeds the file, but a later, shorter one may fit.
                Err(_) if self.blocks.available().len() >= 12 => self.blocks.consume(1),
                Err(_) => {
                    self.blocks.consume(usize::MAX);
                    return;
                }
            }
        }
    }
}

/// A file that goes on where it was left, opened when it is read.
struct Reopened {
    path: PathBuf,
    compressed: bool,
    /// Byte of the (decompressed) stream.
    offset: u64,
    input: Option<Box<dyn Read + Send>>,
}

impl Reopened {
    fn open(&self) -> io::Result<Box<dyn Read + Send>> {
        let mut file = File::open(&self.path)?;
        if !self.compressed {
            file.seek(SeekFrom::Start(self.offset))?;
            return Ok(Box::new(file));
        }
        let (mut input, _) = decompressed(Box::new(file));
        io::copy(&mut input.by_ref().take(self.offset), &mut io::sink())?;
        Ok(input)
    }
}

impl Read for Reopened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let input = match self.input.take() {
            Some(input) => input,
            None => self.open()?,
        };
        self.input.insert(input).read(buffer)
    }
}

/// The input behind its decompressor, if its first bytes ask for one. An error while looking comes up again later.
fn decompressed(mut input: Box<dyn Read + Send>) -> (Box<dyn Read + Send>, bool) {
    let mut head = Vec::with_capacity(compress::MAGIC_LENGTH);
    let mut failure = None;
    while head.len() < compress::MAGIC_LENGTH {
        let mut byte = [0; compress::MAGIC_LENGTH];
        let missing = byte.get_mut(head.len()..).unwrap_or_default();
        match input.read(missing) {
            Ok(0) => break,
            Ok(length) => head.extend(missing.iter().take(length)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    let compression = Compression::of(&head);
    let head = io::Cursor::new(head);
    let whole: Box<dyn Read + Send> = match failure {
        Some(error) => Box::new(head.chain(Failing(Some(error)))),
        None => Box::new(head.chain(input)),
    };
    match compression {
        Some(compression) => (compression.decode(whole), true),
        None => (whole, false),
    }
}

/// Gives its error once, then ends.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}
