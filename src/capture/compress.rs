//! Compressed input, recognised by its first bytes: gzip (RFC 1952), Zstandard (RFC 8878), LZ4 frames and xz.
//!
//! Several members one after the other count as one stream, as the command line tools have it. What was decompressed
//! before damage is given first. Memory is bounded by the windows that are allowed here.

use std::io::{self, BufRead, BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};

use flate2::bufread::GzDecoder;
use lz4_flex::frame::FrameDecoder as Lz4Decoder;
use lzma_rust2::{Action, Status, XzStream};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder as ZstdDecoder};

/// Bytes that decide which compression it is.
pub(super) const MAGIC_LENGTH: usize = 6;

/// A compression that is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
    Lz4,
    Xz,
    /// Begins with a skippable frame, which Zstandard and LZ4 share: pzstd writes one before each of its frames.
    Skippable,
}

impl Compression {
    /// Recognises the compression by the first bytes of the input.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        const XZ: [u8; 6] = [0xfd, b'7', b'z', b'X', b'Z', 0];
        let magic = head.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
        match magic {
            _ if head.starts_with(&[0x1f, 0x8b]) => Some(Self::Gzip),
            _ if head.starts_with(&XZ) => Some(Self::Xz),
            Some(ZSTD_MAGIC) => Some(Self::Zstd),
            Some(LZ4_MAGIC) => Some(Self::Lz4),
            Some(magic) if is_skippable(magic) => Some(Self::Skippable),
            _ => None,
        }
    }

    /// The decompressed stream of `input`, which begins with the magic.
    pub(super) fn decode(self, input: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
        let input = BufReader::with_capacity(INPUT_BLOCK, input);
        match self {
            Self::Gzip => Box::new(Guard(Gzip { member: Some(GzDecoder::new(input)) })),
            Self::Zstd => Box::new(Guard(Zstd { input, decoder: ZstdDecoder::new(), inside: false, failure: None })),
            Self::Lz4 => {
                Box::new(Guard(Lz4 { decoder: Lz4Decoder::new(Ended { input, ended: false }), inside: false }))
            }
            Self::Xz => Box::new(Guard(Xz { input, decoder: XzStream::new_mem_limit(true, XZ_MEMORY), failure: None })),
            Self::Skippable => Box::new(Skippable::Before(input)),
        }
    }
}

const ZSTD_MAGIC: u32 = 0xfd2f_b528;
const LZ4_MAGIC: u32 = 0x184d_2204;
/// The magic of skippable frames, which ends in any four bits (RFC 8878 section 3.1.2).
fn is_skippable(magic: u32) -> bool {
    magic & 0xffff_fff0 == 0x184d_2a50
}
/// Compressed bytes that are read at once.
const INPUT_BLOCK: usize = 256 << 10;
/// Memory of the xz decoder in KiB: `xz -9` needs 65 MiB.
const XZ_MEMORY: u32 = 256 << 10;

/// Turns a panic of a decoder into an error of its stream: the bytes come from outside.
struct Guard<R>(R);

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        catch_unwind(AssertUnwindSafe(|| self.0.read(buffer)))
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::InvalidData, "the decoder gave up")))
    }
}

/// gzip members one after the other. Zeros behind the last are padding, as gzip(1) has it: tapes and disk images leave some.
struct Gzip<R> {
    /// `None` at the end.
    member: Option<GzDecoder<BufReader<R>>>,
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let length = member.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let Some(mut input) = self.member.take().map(GzDecoder::into_inner) else { break };
            while !at_end(&mut input)? {
                let zeros = input.buffer().iter().take_while(|byte| **byte == 0).count();
                if zeros == 0 {
                    self.member = Some(GzDecoder::new(input));
                    break;
                }
                input.consume(zeros);
            }
        }
        Ok(0)
    }
}

/// An xz file: streams one after the other, with padding between them.
struct Xz<R> {
    input: BufReader<R>,
    decoder: XzStream,
    /// What is wrong behind the bytes that were given.
    failure: Option<io::Error>,
}

impl<R: Read> Read for Xz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.failure.take() {
            return Err(error);
        }
        loop {
            let action = if at_end(&mut self.input)? { Action::Finish } else { Action::Run };
            let before = self.decoder.total_out();
            match self.decoder.process(self.input.buffer(), buffer, action) {
                Ok(done) => {
                    self.input.consume(done.bytes_consumed);
                    if done.bytes_produced > 0 || done.status == Status::StreamEnd {
                        return Ok(done.bytes_produced);
                    }
                    if done.bytes_consumed == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                // The decoder works byte by byte: what it made of the bytes before the damage is good.
                Err(error) => match usize::try_from(self.decoder.total_out().saturating_sub(before)) {
                    Ok(length) if length > 0 => {
                        self.failure = Some(error);
                        return Ok(length.min(buffer.len()));
                    }
                    _ => return Err(error),
                },
            }
        }
    }
}

/// A last block of type raw without content (RFC 8878 section 3.1.1.2), and a checksum that is not looked at.
const EMPTY_LAST_BLOCK: &[u8] = &[1, 0, 0, 0, 0, 0, 0];

/// Zstandard frames one after the other, with skippable frames between them (RFC 8878 section 3.1).
struct Zstd<R> {
    input: BufReader<R>,
    decoder: ZstdDecoder,
    inside: bool,
    /// Why the frame cannot be read on; what was decompressed before is given first.
    failure: Option<io::Error>,
}

impl<R: Read> Zstd<R> {
    /// Begins the next frame; `false` at the end of the input.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if at_end(&mut self.input)? {
                return Ok(false);
            }
            match self.decoder.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    skip(&mut self.input, u64::from(length))?;
                }
                Err(error) => return Err(damaged(error)),
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.inside = false;
        match (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum()) {
            (Some(claimed), Some(computed)) if claimed != computed => Err(damaged("wrong checksum")),
            _ => Ok(()),
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside {
                if !self.begin()? {
                    return Ok(0);
                }
                self.inside = true;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            if self.decoder.is_finished() {
                self.finish()?;
                continue;
            }
            if let Err(error) = self.decoder.decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1)) {
                self.failure = Some(damaged(error));
                // The decoder holds a window back as long as blocks may refer to it: an empty last one ends that.
                self.decoder.decode_blocks(EMPTY_LAST_BLOCK, BlockDecodingStrategy::All).map_err(damaged)?;
            }
        }
    }
}

/// LZ4 frames one after the other, with skippable frames between them (LZ4 frame format 1.6.4).
struct Lz4<R: Read> {
    decoder: Lz4Decoder<Ended<R>>,
    inside: bool,
}

impl<R: Read> Lz4<R> {
    /// Begins the next frame; `false` at the end of the input.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            let input = &mut self.decoder.get_mut().input;
            if at_end(input)? {
                return Ok(false);
            }
            // Every frame begins with four bytes of magic; a buffer of fewer is rare, then the decoder looks itself.
            let magic = input.buffer().first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes));
            if !magic.is_some_and(is_skippable) {
                return Ok(true);
            }
            skip_frame(input)?;
        }
    }
}

impl<R: Read> Read for Lz4<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside {
                if !self.begin()? {
                    return Ok(0);
                }
                self.inside = true;
            }
            let length = self.decoder.read(buffer)?;
            if length > 0 {
                return Ok(length);
            }
            // The decoder gives 0 both after the end mark and where the input stops; only the latter met the end.
            if self.decoder.get_ref().ended {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.inside = false;
        }
    }
}

/// A stream whose first frames are skippable: the first that is not tells what it is. Where none follows, the stream is empty.
enum Skippable {
    Before(BufReader<Box<dyn Read + Send>>),
    Behind(Box<dyn Read + Send>),
}

impl Read for Skippable {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let input = match self {
                Self::Behind(stream) => return stream.read(buffer),
                Self::Before(input) => input,
            };
            let mut magic = [0; 4];
            if at_end(input)? {
                return Ok(0);
            }
            input.read_exact(&mut magic)?;
            if is_skippable(u32::from_le_bytes(magic)) {
                skip_body(input)?;
                continue;
            }
            let rest = std::mem::replace(input, BufReader::with_capacity(0, Box::new(io::empty())));
            let whole: Box<dyn Read + Send> = Box::new(io::Cursor::new(magic).chain(rest));
            *self = Self::Behind(match Compression::of(&magic) {
                Some(compression @ (Compression::Zstd | Compression::Lz4)) => compression.decode(whole),
                _ => return Err(damaged("nothing that is known follows a skippable frame")),
            });
        }
    }
}

/// Passes over a skippable frame.
fn skip_frame(input: &mut impl Read) -> io::Result<()> {
    input.read_exact(&mut [0; 4])?;
    skip_body(input)
}

/// Passes over what follows the magic of a skippable frame.
fn skip_body(input: &mut impl Read) -> io::Result<()> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    skip(input, u64::from(u32::from_le_bytes(length)))
}

/// Remembers that a reader was asked for bytes that it did not have.
struct Ended<R> {
    input: BufReader<R>,
    ended: bool,
}

impl<R: Read> Read for Ended<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.input.read(buffer)?;
        self.ended |= length == 0 && !buffer.is_empty();
        Ok(length)
    }
}

fn at_end(input: &mut impl BufRead) -> io::Result<bool> {
    loop {
        match input.fill_buf() {
            Ok(bytes) => return Ok(bytes.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn skip(input: &mut impl Read, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut input.take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn damaged(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}
