//! The file of a sensor that runs for months: it is moved away at night, its disk fills up, its folder goes. None of that
//! ends the capture: lines wait within bounds, what does not fit is dropped and counted, and the user is told.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::time::{Span, Timestamp};

use super::ndjson::refuse_foreign;
use super::pipe::{self, Pipe};
use super::{About, Event, Lost, Sink, SinkError, create_options, never_wait};

/// Bytes gathered before they are written.
const BUFFER: usize = 64 << 10;

/// Bytes that wait while nothing can be written before handshakes are dropped; certificates are at twice as many, everything
/// else at four times as many.
const WAITING: usize = 1 << 20;

/// Between two complaints about the same.
const SILENCE: Span = Span::seconds(60);

/// Between two tries to open a path anew, unless somebody asks.
const RETRY: Span = Span::seconds(1);

/// Appends lines to a file, and opens its path anew when asked to: what moves files away for the night needs no restart.
#[derive(Debug)]
pub struct ReopenedNdjson {
    path: PathBuf,
    reopen: Arc<AtomicBool>,
    /// Tells the user a line.
    tell: fn(&str),
    file: File,
    pipe: Pipe,
    /// Lines that are not written yet.
    waiting: Vec<u8>,
    /// Bytes of the first of them that were written: it goes on there, and as a whole anywhere else.
    begun: usize,
    /// Bytes in the file after the last write, where nobody else writes to it.
    length: u64,
    /// It cannot be written, or the path cannot be opened, since the last complaint at this time.
    failing: Option<Timestamp>,
    /// The path is to be opened anew, which failed at this time.
    reopening: Option<Timestamp>,
    now: Timestamp,
    lost: Lost,
}

/// The path is to be opened anew; the run is to end.
pub type Flags = (Arc<AtomicBool>, Arc<AtomicBool>);

impl ReopenedNdjson {
    /// Appends to the file at `path`, made with mode 0640 if it is missing; opens it anew when the first flag becomes true.
    /// What fails later is said with `tell`, and tried again. Whoever should read a pipe and does not is waited for until the
    /// second flag becomes true and five seconds passed without any progress.
    ///
    /// # Errors
    /// [`SinkError::Foreign`] when there is a file with something else in it, [`SinkError::Create`] when the file cannot be
    /// opened.
    pub fn append(path: &Path, (reopen, ending): Flags, tell: fn(&str)) -> Result<Self, SinkError> {
        refuse_foreign(path)?;
        let mut options = create_options();
        options.create(true).append(true);
        // A pipe is waited for here, as anywhere; never later.
        let file = if is_pipe(path) { pipe::open(never_wait(&mut options), path, &ending) } else { options.open(path) };
        let file = file.map_err(|error| failed(path, error))?;
        let length = end_torn(&file, path)?;
        Ok(Self { reopen, ..Self::with((path.to_owned(), file, length), ending, tell) })
    }

    /// Writes to standard output, which nobody opens anew; else as a file.
    ///
    /// # Errors
    /// [`SinkError::NoOutput`] when there is none.
    #[cfg(unix)]
    pub fn stdout(ending: Arc<AtomicBool>, tell: fn(&str)) -> Result<Self, SinkError> {
        use std::os::fd::AsFd as _;
        let file = File::from(super::stdout::stdout()?.as_fd().try_clone_to_owned()?);
        let length = file.metadata().map_or(0, |about| about.len());
        Ok(Self::with((PathBuf::from("standard output"), file, length), ending, tell))
    }

    fn with((path, file, length): (PathBuf, File, u64), ending: Arc<AtomicBool>, tell: fn(&str)) -> Self {
        Self {
            path,
            reopen: Arc::default(),
            tell,
            pipe: Pipe::of(&file, ending),
            file,
            waiting: Vec::with_capacity(BUFFER),
            begun: 0,
            length,
            failing: None,
            reopening: None,
            now: Timestamp(0),
            lost: Lost::default(),
        }
    }

    fn look(&mut self, last: bool) -> Result<(), SinkError> {
        let asked = self.reopen.swap(false, Ordering::Relaxed);
        let due = self.reopening.is_some_and(|tried| last || self.now >= tried.plus(RETRY));
        if !asked && !due {
            return Ok(());
        }
        self.write_out()?;
        match self.open_anew() {
            Ok(()) => self.reopening = None,
            Err(error) => {
                if asked {
                    self.failing = None;
                }
                self.reopening = Some(self.now);
                self.complain(&format!("{error}; the file that is open is written on"));
            }
        }
        Ok(())
    }

    /// Goes on in the file that has the path now, if that is another one.
    fn open_anew(&mut self) -> Result<(), SinkError> {
        let path = self.path.as_path();
        if path.metadata().is_ok_and(|there| is_same(&there, &self.file)) {
            if self.begun == 0 {
                self.length = end_torn(&self.file, path)?;
            }
            return Ok(());
        }
        refuse_foreign(path)?;
        let mut options = create_options();
        let file = never_wait(options.create(true).append(true)).open(path).map_err(|error| failed(path, error))?;
        if !file.metadata().is_ok_and(|about| about.is_file()) {
            return Err(failed(path, io::Error::new(io::ErrorKind::InvalidInput, "not a file")));
        }
        let length = end_torn(&file, path)?;
        self.leave();
        self.pipe = self.pipe.renewed(&file);
        (self.file, self.length) = (file, length);
        Ok(())
    }

    /// Nothing more is written to the file: a line that was begun ends, or goes where there is no room for its end.
    fn leave(&mut self) {
        let begun = u64::try_from(std::mem::take(&mut self.begun)).unwrap_or(0);
        // Nobody waits for room in a pipe.
        if begun == 0 || self.pipe.has_reader() || self.file.write_all(b"\n").is_ok() {
            return;
        }
        // Whoever follows a file that gets shorter reads it again, so this comes second. Where it fails, nothing can be done.
        let _ = cut(&self.file, self.length, begun);
    }

    /// Writes what waits as far as that is possible.
    fn write_out(&mut self) -> Result<(), SinkError> {
        match self.try_write_out() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(SinkError::Closed),
            Err(error) => self.complain(&format!("cannot write to {}: {error}", self.path.display())),
            Ok(()) if self.reopening.is_none() => self.failing = None,
            Ok(()) => {}
        }
        Ok(())
    }

    fn try_write_out(&mut self) -> io::Result<()> {
        let mut written = self.begun;
        let outcome = loop {
            let rest = self.waiting.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.pipe.write(&self.file, rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => {
                    written += length;
                    self.length = self.length.saturating_add(u64::try_from(length).unwrap_or(0));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        let done = self.waiting.get(..written).unwrap_or(&self.waiting);
        let whole = done.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.begun = written.saturating_sub(whole);
        self.waiting.drain(..whole);
        if self.waiting.is_empty() {
            // What waited for a disk must not take memory for ever.
            self.waiting.shrink_to(BUFFER);
        }
        outcome
    }

    /// The counters are among what cannot be written.
    fn tell_losses(&self) {
        let Lost { handshakes, certificates, alerts, .. } = self.lost;
        let waiting = self.waiting.iter().filter(|byte| **byte == b'\n').count();
        let before = format!("{handshakes} handshakes, {certificates} certificates and {alerts} alerts before them");
        let path = self.path.display();
        (self.tell)(&format!("the last {waiting} events are not in {path}, nor are {before}"));
    }

    /// At once, then once a minute.
    fn complain(&mut self, what: &str) {
        if self.failing.is_none_or(|at| self.now >= at.plus(SILENCE)) {
            self.failing = Some(self.now);
            (self.tell)(what);
        }
    }
}

impl Sink for ReopenedNdjson {
    fn write(&mut self, event: &Event<'_>) -> Result<(), SinkError> {
        self.look(false)?;
        if self.waiting.len() + event.line.len() > BUFFER && self.failing.is_none() {
            self.write_out()?;
        }
        let (most, lost) = match event.about {
            About::Handshake(_) => (WAITING, &mut self.lost.handshakes),
            About::Certificate(_) => (2 * WAITING, &mut self.lost.certificates),
            About::Alert(_) => (4 * WAITING, &mut self.lost.alerts),
            About::Stats(_) => (usize::MAX, &mut self.lost.alerts),
        };
        if self.failing.is_some() && self.waiting.len() + event.line.len() > most {
            *lost += 1;
        } else {
            self.waiting.extend_from_slice(event.line);
        }
        Ok(())
    }

    fn tick(&mut self, clock: Timestamp) -> Result<(), SinkError> {
        self.now = self.now.max(clock);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.look(false)?;
        self.write_out()
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.look(true)?;
        let written = self.try_write_out();
        if let Err(error) = &written {
            self.leave();
            // Whoever read a pipe and went away wants no more.
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.tell_losses();
            }
        }
        Ok(written?)
    }

    fn lost(&self) -> Lost {
        self.lost
    }
}

fn failed(path: &Path, source: io::Error) -> SinkError {
    SinkError::Create { path: path.display().to_string(), source }
}

/// Whether somebody else has to open its other end.
fn is_pipe(path: &Path) -> bool {
    #[cfg(unix)]
    return path.metadata().is_ok_and(|about| std::os::unix::fs::FileTypeExt::is_fifo(&about.file_type()));
    #[cfg(not(unix))]
    false
}

/// Whether `there` is the file that is open as `file`.
#[cfg(unix)]
fn is_same(there: &Metadata, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    file.metadata().is_ok_and(|here| (here.dev(), here.ino()) == (there.dev(), there.ino()))
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &File) -> bool {
    false
}

/// Takes the last `bytes` away from a file of this length; not where somebody else has written to it.
fn cut(file: &File, length: u64, bytes: u64) -> io::Result<()> {
    let about = file.metadata()?;
    if about.is_file() && about.len() == length { file.set_len(length.saturating_sub(bytes)) } else { Ok(()) }
}

/// Ends the last line of a file that has just been opened; returns how long the file is.
fn end_torn(mut file: &File, path: &Path) -> Result<u64, SinkError> {
    if is_torn(path) {
        file.write_all(b"\n").map_err(|error| failed(path, error))?;
    }
    Ok(file.metadata().map_or(0, |about| about.len()))
}

/// Whether the last line of a file has no end, as a power cut or a full disk leaves it: the next event must not become a
/// part of it.
fn is_torn(path: &Path) -> bool {
    // A pipe has no last line, and to open it would wait.
    if !path.metadata().is_ok_and(|about| about.is_file() && about.len() > 0) {
        return false;
    }
    let mut last = [0];
    let read = never_wait(File::options().read(true)).open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)
    });
    read.is_ok() && last != *b"\n"
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::stats::Stats;

    /// What was told; tests of this module run one after the other while they hold it.
    static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static ALONE: Mutex<()> = Mutex::new(());

    fn tell(line: &str) {
        TOLD.lock().unwrap().push(line.to_owned());
    }

    fn told() -> Vec<String> {
        std::mem::take(&mut TOLD.lock().unwrap())
    }

    fn line(sink: &mut ReopenedNdjson, line: &[u8]) {
        sink.write(&Event { line, about: About::Stats(&Stats::default()) }).unwrap();
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let _alone = ALONE.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("events"), folder.path().join("events.1"));
        std::fs::write(&path, "{old}\n").unwrap();
        let reopen = Arc::new(AtomicBool::new(false));
        let mut sink = ReopenedNdjson::append(&path, (Arc::clone(&reopen), Arc::default()), tell).unwrap();
        line(&mut sink, b"1\n");
        std::fs::rename(&path, &moved).unwrap();
        line(&mut sink, b"2\n");
        reopen.store(true, Ordering::Relaxed);
        sink.flush().unwrap();
        line(&mut sink, b"3\n");
        sink.flush().unwrap();
        assert_eq!(std::fs::read(&moved).unwrap(), b"{old}\n1\n2\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"3\n");
        assert_eq!(told(), [""; 0]);
    }

    #[test]
    fn a_torn_line_stays_by_itself() {
        let _alone = ALONE.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        for (old, new) in [("", ""), ("{}\n", "{}\n"), ("{}\n{\"torn", "{}\n{\"torn\n"), ("{", "{\n")] {
            std::fs::write(&path, old).unwrap();
            let reopen = Arc::new(AtomicBool::new(false));
            let mut sink = ReopenedNdjson::append(&path, (Arc::clone(&reopen), Arc::default()), tell).unwrap();
            line(&mut sink, b"{1}\n");
            sink.flush().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{new}{{1}}\n"));
            // The same for a file that is opened anew.
            std::fs::write(&path, old).unwrap();
            reopen.store(true, Ordering::Relaxed);
            line(&mut sink, b"{2}\n");
            sink.flush().unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{new}{{2}}\n"));
        }
    }

    #[test]
    fn a_folder_that_is_gone_is_told_and_waited_for() {
        let _alone = ALONE.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (here, there) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::create_dir(&here).unwrap();
        let path = here.join("events");
        let reopen = Arc::new(AtomicBool::new(false));
        let mut sink = ReopenedNdjson::append(&path, (Arc::clone(&reopen), Arc::default()), tell).unwrap();
        line(&mut sink, b"1\n");
        std::fs::rename(&here, &there).unwrap();
        for second in 0..119 {
            reopen.store(second == 0, Ordering::Relaxed);
            sink.tick(Timestamp::new(1_000 + second, 0)).unwrap();
            sink.flush().unwrap();
        }
        line(&mut sink, b"2\n");
        sink.flush().unwrap();
        assert_eq!(std::fs::read(there.join("events")).unwrap(), b"1\n2\n");
        let told = told();
        assert!(told.len() == 2 && told[0].contains("cannot create") && told[0].contains("written on"), "{told:?}");
        // Not tried at each event: the clock must go on.
        std::fs::create_dir(&here).unwrap();
        sink.flush().unwrap();
        assert!(!path.exists());
        sink.tick(Timestamp::new(1_120, 0)).unwrap();
        line(&mut sink, b"3\n");
        assert!(path.exists());
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"3\n");
        assert_eq!(sink.lost(), Lost::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_costs_lines_and_not_the_run() {
        let _alone = ALONE.lock().unwrap();
        let reopen = Arc::new(AtomicBool::new(false));
        let mut sink =
            ReopenedNdjson::append(Path::new("/dev/full"), (Arc::clone(&reopen), Arc::default()), tell).unwrap();
        let long = [&[b'x'; 999][..], b"\n"].concat();
        let observation = crate::event::sample::observation();
        let handshake = Event { line: &long, about: About::Handshake(&observation) };
        for number in 0..2_000_u64 {
            sink.write(&handshake).unwrap();
            if number % 100 == 0 {
                sink.flush().unwrap();
            }
        }
        line(&mut sink, b"an alert\n");
        let kept = u64::try_from(WAITING / long.len()).unwrap();
        assert_eq!(sink.lost(), Lost { handshakes: 2_000 - kept, ..Lost::default() });
        assert!(matches!(sink.finish(), Err(SinkError::Write(_))));
        let (told, last) = (told(), kept + 1);
        assert_eq!(told.len(), 2);
        let before = format!("nor are {} handshakes, 0 certificates", 2_000 - kept);
        assert!(
            told[1].starts_with(&format!("the last {last} events are not in")) && told[1].contains(&before),
            "{told:?}"
        );
        // Room again: all that waited is written, in order.
        let folder = tempfile::tempdir().unwrap();
        sink.path = folder.path().join("events");
        reopen.store(true, Ordering::Relaxed);
        sink.finish().unwrap();
        let written = std::fs::read(&sink.path).unwrap();
        assert!(written.ends_with(b"x\nan alert\n") && written.len() == usize::try_from(kept).unwrap() * 1_000 + 9);
        assert!(sink.waiting.capacity() <= BUFFER, "{}", sink.waiting.capacity());
    }

    /// A file that takes 64 KiB and then nothing more until somebody reads.
    #[cfg(target_os = "linux")]
    fn narrow() -> (io::PipeReader, File) {
        use std::os::fd::AsRawFd as _;
        let (reader, writer) = io::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
        (reader, never_wait(File::options().write(true)).open(path).unwrap())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_line_that_was_begun_goes_on_or_comes_as_a_whole() {
        let _alone = ALONE.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let long = [&[b'x'; 99_999][..], b"\n"].concat();
        for moved in [false, true] {
            let reopen = Arc::new(AtomicBool::new(false));
            let mut sink = ReopenedNdjson::append(&path, (Arc::clone(&reopen), Arc::default()), tell).unwrap();
            let (mut reader, writer) = narrow();
            sink.file = writer;
            for bytes in [b"1\n", long.as_slice(), b"2\n"] {
                line(&mut sink, bytes);
            }
            sink.flush().unwrap();
            assert!(sink.begun > 0 && sink.waiting.len() == 100_002);
            reopen.store(moved, Ordering::Relaxed);
            let mut first = vec![0; 2 + sink.begun];
            if moved {
                sink.finish().unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), [&long, b"2\n".as_slice()].concat());
                reader.read_exact(&mut first).unwrap();
            } else {
                reader.read_exact(&mut first).unwrap();
                sink.finish().unwrap();
                let mut rest = vec![0; 100_004 - first.len()];
                reader.read_exact(&mut rest).unwrap();
                assert_eq!([first, rest].concat(), [b"1\n", long.as_slice(), b"2\n"].concat());
            }
            assert_eq!(sink.lost(), Lost::default());
        }
        told();
    }

    #[test]
    fn the_half_line_of_a_file_that_is_left_ends() {
        let _alone = ALONE.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        std::fs::write(&path, "{1}\n").unwrap();
        let mut sink = ReopenedNdjson::append(&path, Flags::default(), tell).unwrap();
        (&sink.file).write_all(b"{ha").unwrap();
        (sink.begun, sink.length) = (3, 7);
        sink.leave();
        assert_eq!(std::fs::read(&path).unwrap(), b"{1}\n{ha\n");
        std::fs::write(&path, "{1}\n{ha").unwrap();
        cut(&sink.file, 8, 3).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{1}\n{ha", "somebody else writes to it");
        cut(&sink.file, 7, 3).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{1}\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_path_that_became_something_else_is_not_written_to() {
        let _alone = ALONE.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("events"), folder.path().join("events.1"));
        let pipe = |path: &Path| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        let foreign = |path: &Path| std::fs::write(path, "a capture").unwrap();
        for become_other in [&pipe as &dyn Fn(&Path), &foreign] {
            let reopen = Arc::new(AtomicBool::new(false));
            let mut sink = ReopenedNdjson::append(&path, (Arc::clone(&reopen), Arc::default()), tell).unwrap();
            std::fs::rename(&path, &moved).unwrap();
            become_other(&path);
            reopen.store(true, Ordering::Relaxed);
            let (done, wait) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                line(&mut sink, b"{1}\n");
                sink.flush().unwrap();
                done.send(sink).unwrap();
            });
            let mut sink = wait.recv_timeout(std::time::Duration::from_secs(20)).expect("the sensor does not wait");
            assert_eq!(std::fs::read(&moved).unwrap(), b"{1}\n");
            let told = told();
            assert!(told.len() == 1 && told[0].contains("written on"), "{told:?}");
            std::fs::remove_file(&path).unwrap();
            sink.finish().unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_torn_line_does_not_begin_a_file() {
        let _alone = ALONE.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let reopen = Arc::new(AtomicBool::new(true));
        let mut sink = ReopenedNdjson::append(&path, (reopen, Arc::default()), tell).unwrap();
        sink.file = File::options().write(true).open("/dev/full").unwrap();
        (sink.waiting, sink.begun) = (b"a torn line\nwhole\n".to_vec(), 3);
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"a torn line\nwhole\n");
        assert_eq!(sink.lost(), Lost::default());
        told();
    }
}
