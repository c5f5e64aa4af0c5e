//! Several files as one capture: by time, ties by file order, each file opened when the clock reaches it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::packet::{Frame, LinkType, is_supported};
use crate::stats::Stats;
use crate::time::Timestamp;

use super::blocks::{BLOCK, SMALL_BLOCK};
use super::file::{CaptureFile, Trouble};
use super::filter::Filter;
use super::mapped::Pages;
use super::pcapng::Secrets;
use super::record::Record;
use super::run::{Run, Taken};
use super::{CaptureError, Next, Problem, ProblemKind, Progress, Source};

/// What of the capture is wanted.
#[derive(Debug, Default)]
pub struct Options {
    /// Only frames that this accepts.
    pub filter: Option<Filter>,
    /// Only frames at or after this time.
    pub from: Option<Timestamp>,
    /// Only frames before or at this time.
    pub to: Option<Timestamp>,
}

impl Options {
    fn select_all(&self) -> bool {
        self.filter.is_none() && self.from.is_none() && self.to.is_none()
    }
}

/// Files, folders and standard input as one [`Source`].
pub struct Files {
    inputs: Vec<Input>,
    /// The file that the last frame came from, and more are read from.
    current: Option<Open>,
    /// The other files, by the time of their next frame.
    waiting: BinaryHeap<Reverse<(Timestamp, u32)>>,
    options: Options,
    select_all: bool,
    sequence: u64,
    /// What was taken of the last run.
    taken: Taken,
    /// Files that are open, the current one and suspended ones included.
    open: usize,
    /// Of these, the ones without a descriptor.
    suspended: usize,
    /// Most files with a descriptor at once; the usual limit of a process is 1,024.
    pub(super) max_descriptors: usize,
    /// Link type of the last frame, and the unsupported ones that were told.
    link_type: Option<LinkType>,
    unsupported: Vec<LinkType>,
    stats: Stats,
    problems: Vec<Problem>,
    secrets: Vec<Secrets>,
    progress: Arc<AtomicU64>,
    total: Option<u64>,
}

/// Files read in large blocks at once; more are read in small ones, so that thousands fit.
const LARGE_BLOCKS: usize = 16;
/// Default of [`Files::max_descriptors`].
const MAX_DESCRIPTORS: usize = 512;
/// Unsupported link types that are told: captures have few, made-up ones may have 65,536.
const MAX_UNSUPPORTED: usize = 16;
/// Bytes of all secrets that are kept of files read to their end.
const MAX_SECRETS: usize = 64 << 20;

struct Input {
    path: PathBuf,
    /// The path as shown.
    shown: String,
    origin: Origin,
    state: State,
    damaged: bool,
    /// Parked without a descriptor.
    suspended: bool,
    names: Vec<Option<String>>,
    /// Bytes of its frames as `Packets` gives them, known at the end.
    content_length: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Named,
    Folder,
    StandardInput,
}

enum State {
    /// Not open; the first frame's time is in the heap.
    Closed,
    /// Open; the next frame is already parsed and waits.
    Parked(Box<CaptureFile>, Record),
    /// The current file, or read to its end, or unreadable.
    Gone,
}

struct Open {
    index: u32,
    file: Box<CaptureFile>,
}

impl Input {
    /// Not so pipes: what was read of them is gone.
    fn can_be_opened_again(&self) -> bool {
        self.origin != Origin::StandardInput && fs::metadata(&self.path).is_ok_and(|metadata| metadata.is_file())
    }
}

impl Files {
    /// Counts files of which the inventory takes nothing.
    pub fn note_uncounted(&mut self, files: u64) {
        self.stats.capture_uncounted += files;
    }

    /// Looks at every path: files, folders (their files by name, not recursive), `-` for standard input.
    ///
    /// What cannot be read becomes a [`Problem`]; nothing here fails.
    pub fn open(paths: &[PathBuf], options: Options) -> Self {
        let mut files = Self {
            inputs: Vec::new(),
            current: None,
            waiting: BinaryHeap::new(),
            select_all: options.select_all(),
            options,
            sequence: 0,
            taken: Taken::default(),
            open: 0,
            suspended: 0,
            max_descriptors: MAX_DESCRIPTORS,
            link_type: None,
            unsupported: Vec::new(),
            stats: Stats::default(),
            problems: Vec::new(),
            secrets: Vec::new(),
            progress: Arc::default(),
            total: Some(0),
        };
        for path in paths {
            files.add(path);
        }
        files.look_at_all();
        files
    }

    /// A capture that is read from `input`, shown as `name`.
    pub fn from_reader(name: &str, input: Box<dyn Read + Send>, options: Options) -> Self {
        let mut files = Self::open(&[], options);
        files.total = None;
        files.push(PathBuf::from(name), Origin::StandardInput);
        files.enter(0, CaptureFile::new(input, BLOCK, Arc::clone(&files.progress)));
        files
    }

    /// Bytes of the frames of a file as [`Packets`](super::Packets) gives them, once it was read to its end.
    pub fn content_length(&self, file: u32) -> Option<u64> {
        self.inputs.get(usize::try_from(file).ok()?)?.content_length
    }

    /// Decryption Secrets Blocks read so far.
    pub fn secrets(&self) -> impl Iterator<Item = &Secrets> {
        let parked = self.inputs.iter().filter_map(|input| match &input.state {
            State::Parked(file, _) => Some(file.secrets()),
            _ => None,
        });
        let open = self.current.iter().map(|open| open.file.secrets());
        self.secrets.iter().chain(parked.chain(open).flatten())
    }

    fn add(&mut self, path: &Path) {
        if path == Path::new("-") {
            self.total = None;
            self.push(path.to_owned(), Origin::StandardInput);
            return;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.add_folder(path),
            Ok(metadata) if metadata.is_file() => {
                self.total = self.total.map(|total| total.saturating_add(metadata.len()));
                self.push(path.to_owned(), Origin::Named);
            }
            Ok(_) => {
                self.total = None;
                self.push(path.to_owned(), Origin::Named);
            }
            Err(error) => self.report(path.to_string_lossy().into_owned(), io_problem(&error)),
        }
    }

    fn add_folder(&mut self, folder: &Path) {
        let mut names = Vec::new();
        let before = (self.inputs.len(), self.problems.len());
        let listed = fs::read_dir(folder).and_then(|entries| {
            for entry in entries {
                names.push(entry?.file_name());
            }
            Ok(())
        });
        if let Err(error) = listed {
            self.report(folder.to_string_lossy().into_owned(), io_problem(&error));
        }
        names.sort();
        for name in names {
            let path = folder.join(name);
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(metadata) if metadata.is_file() => {
                    self.total = self.total.map(|total| total.saturating_add(metadata.len()));
                    self.push(path, Origin::Folder);
                }
                // A pipe or device of a folder would block or never end.
                Ok(_) => self.report(path.to_string_lossy().into_owned(), ProblemKind::Skipped),
                Err(error) => self.report(path.to_string_lossy().into_owned(), io_problem(&error)),
            }
        }
        if before == (self.inputs.len(), self.problems.len()) {
            self.report(folder.to_string_lossy().into_owned(), ProblemKind::Empty);
        }
    }

    fn push(&mut self, path: PathBuf, origin: Origin) {
        let shown = path.to_string_lossy().into_owned();
        self.inputs.push(Input {
            path,
            shown,
            origin,
            state: State::Closed,
            damaged: false,
            suspended: false,
            names: Vec::new(),
            content_length: None,
        });
    }

    /// Puts every file in the heap with the time of its first frame. Regular files are closed again.
    fn look_at_all(&mut self) {
        let single = self.inputs.len() == 1;
        for index in (0_u32..).take(self.inputs.len()) {
            let Some(input) = self.input(index) else { continue };
            let keep = single || !fs::metadata(&input.path).is_ok_and(|metadata| metadata.is_file());
            if keep {
                let progress = Arc::clone(&self.progress);
                if let Some(file) = self.open_file(index, (BLOCK, single), progress) {
                    self.enter(index, file);
                }
            } else if let Some(mut file) = self.open_file(index, (SMALL_BLOCK, false), Arc::default()) {
                self.waiting.push(Reverse((first_time(&mut file), index)));
            }
        }
    }

    /// Opens a file to be read in blocks of this many bytes, maybe `alone`, as the only one.
    fn open_file(
        &mut self,
        index: u32,
        (block, alone): (usize, bool),
        progress: Arc<AtomicU64>,
    ) -> Option<CaptureFile> {
        let input = self.input(index)?;
        if input.origin == Origin::StandardInput {
            return Some(CaptureFile::new(Box::new(io::stdin()), block, progress));
        }
        match File::open(&input.path) {
            Ok(file) => {
                let second = file.try_clone().ok().filter(|_| alone);
                let mut capture = CaptureFile::new(Box::new(file), block, Arc::clone(&progress));
                if let Some(second) = second {
                    capture.read_alone(second, progress);
                }
                Some(capture)
            }
            Err(error) => {
                self.set_state(index, State::Gone);
                self.trouble(index, Trouble::Io(error));
                None
            }
        }
    }

    /// Parks an open file with its first frame.
    fn enter(&mut self, index: u32, file: CaptureFile) {
        self.stats.capture_files += 1;
        self.open += 1;
        self.park_next(Open { index, file: Box::new(file) });
    }

    /// Reads the next frame of a file that is not the current one, and parks it with that; finishes it at its end.
    fn park_next(&mut self, mut open: Open) {
        match self.read(&mut open) {
            Some(record) => self.park(open, record),
            None => self.finish(open),
        }
    }

    fn park(&mut self, mut open: Open, record: Record) {
        self.waiting.push(Reverse((record.timestamp, open.index)));
        let too_many = self.open.saturating_sub(self.suspended) > self.max_descriptors;
        if let Some(input) = self.input(open.index).filter(|input| too_many && input.can_be_opened_again()) {
            open.file.suspend(&record, &input.path);
            input.suspended = true;
            self.suspended += 1;
        }
        self.set_state(open.index, State::Parked(open.file, record));
    }

    fn finish(&mut self, open: Open) {
        self.open = self.open.saturating_sub(1);
        let content_length = open.file.content_length();
        let (names, secrets) = open.file.into_remains();
        let mut kept: usize = self.secrets.iter().map(|secrets| secrets.data.len()).sum();
        for secrets in secrets {
            kept = kept.saturating_add(secrets.data.len()).saturating_add(size_of::<Secrets>());
            if kept <= MAX_SECRETS {
                self.stats.capture_secrets += 1;
                self.secrets.push(secrets);
            }
        }
        if let Some(input) = self.input(open.index) {
            input.names = names;
            input.content_length = Some(content_length);
        }
    }

    /// The next frame of one file; tells what is met on the way.
    fn read(&mut self, open: &mut Open) -> Option<Record> {
        loop {
            match open.file.advance() {
                Ok(record) => return record,
                Err(trouble) => self.trouble(open.index, trouble),
            }
        }
    }

    /// The next frame of all files: now the last one of the current file.
    fn step(&mut self) -> Option<Record> {
        if let Some(mut open) = self.current.take() {
            match self.read(&mut open) {
                Some(record) => {
                    let place = (record.timestamp, open.index);
                    if self.waiting.peek().is_none_or(|Reverse(next)| place <= *next) {
                        self.current = Some(open);
                        return Some(record);
                    }
                    self.park(open, record);
                }
                None => self.finish(open),
            }
        }
        loop {
            let Reverse((_, index)) = self.waiting.pop()?;
            match self.input(index).map(|input| std::mem::replace(&mut input.state, State::Gone))? {
                State::Parked(file, record) => {
                    let resumed = self.input(index).is_some_and(|input| std::mem::take(&mut input.suspended));
                    self.suspended = self.suspended.saturating_sub(usize::from(resumed));
                    self.current = Some(Open { index, file });
                    return Some(record);
                }
                State::Closed => {
                    let block = if self.open < LARGE_BLOCKS { BLOCK } else { SMALL_BLOCK };
                    let progress = Arc::clone(&self.progress);
                    if let Some(file) = self.open_file(index, (block, false), progress) {
                        self.enter(index, file);
                    }
                }
                State::Gone => {}
            }
        }
    }

    fn input(&mut self, index: u32) -> Option<&mut Input> {
        self.inputs.get_mut(usize::try_from(index).ok()?)
    }

    fn set_state(&mut self, index: u32, state: State) {
        if let Some(input) = self.input(index) {
            input.state = state;
        }
    }

    fn trouble(&mut self, index: u32, trouble: Trouble) {
        // Not through `input()`: the counters are borrowed beside it.
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(input) = self.inputs.get_mut(place) else { return };
        let path = input.shown.clone();
        let in_folder = input.origin == Origin::Folder;
        if matches!(trouble, Trouble::NotACapture) {
            self.stats.capture_files = self.stats.capture_files.saturating_sub(1);
        }
        let kind = match trouble {
            Trouble::NotACapture if in_folder => ProblemKind::Skipped,
            Trouble::NotACapture => ProblemKind::NotACapture,
            Trouble::Io(error) => io_problem(&error),
            Trouble::Damaged(offset, damage) => {
                let first = !std::mem::replace(&mut input.damaged, true);
                self.stats.capture_bad_places += 1;
                if !first {
                    return;
                }
                self.stats.capture_damaged += 1;
                ProblemKind::Damaged { offset, damage }
            }
        };
        self.report(path, kind);
    }

    fn report(&mut self, path: String, kind: ProblemKind) {
        if matches!(kind, ProblemKind::NotACapture | ProblemKind::Io { .. } | ProblemKind::Skipped) {
            self.stats.capture_unreadable += 1;
        }
        self.problems.push(Problem { path, kind });
    }

    /// Takes note of how far the last run got.
    fn settle(&mut self) {
        let taken = std::mem::take(&mut self.taken);
        if let Some(open) = self.current.as_mut().filter(|_| taken.frames > 0) {
            self.sequence += taken.frames;
            self.stats.capture_packets = self.sequence;
            self.stats.capture_bytes += open.file.take(taken);
        }
    }

    /// The next frame that is wanted.
    #[inline(never)]
    fn select(&mut self) -> Option<Record> {
        loop {
            let record = self.step()?;
            self.count(&record);
            self.stats.capture_time_unknown += u64::from(!record.time_known);
            if self.link_type != Some(record.link_type) {
                self.meet(record.link_type);
            }
            if self.select_all || self.selects(&record) {
                return Some(record);
            }
            self.stats.capture_filtered += 1;
        }
    }

    fn count(&mut self, record: &Record) {
        self.sequence += 1;
        self.stats.capture_packets = self.sequence;
        self.stats.capture_bytes += u64::try_from(record.length).unwrap_or(0);
    }

    /// Frames of another link type than the last begin.
    #[cold]
    fn meet(&mut self, link_type: LinkType) {
        self.link_type = Some(link_type);
        let more = self.unsupported.len() < MAX_UNSUPPORTED;
        if more && !is_supported(link_type) && !self.unsupported.contains(&link_type) {
            self.unsupported.push(link_type);
            let index = self.current.as_ref().map_or(0, |open| open.index);
            let path = self.input(index).map(|input| input.shown.clone()).unwrap_or_default();
            self.report(path, ProblemKind::UnsupportedLink { link_type });
        }
    }

    /// Whether the frame is wanted.
    fn selects(&mut self, record: &Record) -> bool {
        let Options { filter, from, to } = &mut self.options;
        let time = record.timestamp;
        if from.is_some_and(|from| time < from) || to.is_some_and(|to| time > to) {
            return false;
        }
        let (Some(filter), Some(open)) = (filter, &self.current) else { return true };
        match filter.accepts(record.link_type, open.file.data(record)) {
            Ok(accepted) => accepted,
            Err(reason) => {
                let index = usize::try_from(open.index).unwrap_or(usize::MAX);
                let path = self.inputs.get(index).map(|input| input.shown.clone()).unwrap_or_default();
                self.report(path, ProblemKind::Filter { link_type: record.link_type, reason });
                false
            }
        }
    }
}

impl Source for Files {
    fn next(&mut self) -> Result<Next<'_>, CaptureError> {
        self.settle();
        let Some(record) = self.select() else { return Ok(Next::End) };
        let Some(open) = &self.current else { return Ok(Next::End) };
        Ok(Next::Frame(Frame {
            sequence: self.sequence,
            number: open.file.number,
            file: open.index,
            interface: record.interface,
            timestamp: record.timestamp,
            time_known: record.time_known,
            link_type: record.link_type,
            original_len: record.original_len,
            data: open.file.data(&record),
        }))
    }

    /// Where nothing has to be asked: one file is left and all of it is wanted.
    fn run(&mut self) -> Option<Run<'_>> {
        self.settle();
        let open = self.current.as_ref().filter(|_| self.select_all && self.waiting.is_empty())?;
        let at_hand = open.file.at_hand()?;
        Some(Run::new(at_hand, (open.index, (self.sequence, open.file.number)), &mut self.taken))
    }

    fn pages(&self) -> Option<&Arc<Pages>> {
        self.current.as_ref().and_then(|open| open.file.pages())
    }

    fn refresh(&mut self) {
        self.settle();
        if let Some(open) = &mut self.current {
            open.file.refresh();
        }
    }

    fn file_path(&self, file: u32) -> Option<&str> {
        self.inputs.get(usize::try_from(file).ok()?).map(|input| input.shown.as_str())
    }

    fn interface_name(&self, file: u32, interface: u32) -> Option<&str> {
        let known = || {
            let names = &self.inputs.get(usize::try_from(file).ok()?)?.names;
            names.get(usize::try_from(interface).ok()?)?.as_deref()
        };
        let open = match (&self.current, self.inputs.get(usize::try_from(file).ok()?)) {
            (Some(open), _) if open.index == file => Some(&open.file),
            (_, Some(Input { state: State::Parked(parked, _), .. })) => Some(parked),
            _ => None,
        };
        open.map_or_else(known, |open| open.interface_name(interface))
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }

    fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn progress(&self) -> Progress {
        Progress { read: self.progress.load(Ordering::Relaxed), total: self.total }
    }
}

/// The time of a file's first frame. A file without any is read at once, so that what is wrong with it is told.
fn first_time(file: &mut CaptureFile) -> Timestamp {
    loop {
        match file.advance() {
            Ok(Some(record)) => return record.timestamp,
            Err(Trouble::Damaged(..)) => {}
            Ok(None) | Err(_) => return Timestamp::MIN,
        }
    }
}

fn io_problem(error: &io::Error) -> ProblemKind {
    ProblemKind::Io { kind: error.kind(), message: error.to_string() }
}
