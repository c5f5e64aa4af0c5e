//! The file of a sensor that runs for months: it is moved away at night, its disk fills up, its folder goes. None of that
//! ends the capture: lines wait within bounds, what does not fit is dropped and counted, and the user is told.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::time::{Span, Timestamp};

use super::ndjson::refuse_foreign;
use super::{About, Event, Lost, Sink, SinkError, create_options};

/// Bytes gathered before they are written.
const BUFFER: usize = 64 << 10;

/// Bytes that wait while nothing can be written before handshakes are dropped; certificates are at twice as many, everything
/// else at four times as many.
const WAITING: usize = 1 << 20;

/// Between two complaints about the same.
const SILENCE: Span = Span::seconds(60);

/// Appends lines to a file, and opens its path anew when asked to: what moves files away for the night needs no restart.
#[derive(Debug)]
pub struct ReopenedNdjson {
    path: PathBuf,
    reopen: Arc<AtomicBool>,
    /// Tells the user a line.
    tell: fn(&str),
    file: File,
    /// Not written yet: whole lines, but for the first if [`Self::torn`].
    waiting: Vec<u8>,
    /// A part of the first line that waits was written.
    torn: bool,
    /// It cannot be written, or the path cannot be opened, since the last complaint at this time.
    failing: Option<Timestamp>,
    /// The path is to be opened anew, which failed so far.
    reopening: bool,
    now: Timestamp,
    lost: Lost,
}

impl ReopenedNdjson {
    /// Appends to the file at `path`, made with mode 0640 if it is missing; opens it anew when `reopen` becomes true. What
    /// fails later is said with `tell`, and tried again.
    ///
    /// # Errors
    /// [`SinkError::Foreign`] when there is a file with something else in it, [`SinkError::Create`] when the file cannot be
    /// opened.
    pub fn append(path: &Path, reopen: Arc<AtomicBool>, tell: fn(&str)) -> Result<Self, SinkError> {
        refuse_foreign(path)?;
        Ok(Self {
            path: path.to_owned(),
            reopen,
            tell,
            file: open(path)?,
            waiting: Vec::with_capacity(BUFFER),
            torn: false,
            failing: None,
            reopening: false,
            now: Timestamp(0),
            lost: Lost::default(),
        })
    }

    fn look(&mut self) -> Result<(), SinkError> {
        let asked = self.reopen.swap(false, Ordering::Relaxed);
        if !asked && !self.reopening {
            return Ok(());
        }
        self.write_out()?;
        match open(&self.path) {
            Ok(file) => {
                // A line that was begun elsewhere does not go on in a new file.
                if self.torn && file.metadata().is_ok_and(|about| about.len() == 0) {
                    self.drop_first();
                }
                (self.file, self.reopening) = (file, false);
            }
            Err(error) => {
                if asked {
                    self.failing = None;
                }
                self.reopening = true;
                self.complain(&format!("{error}; the file that is open is written on"));
            }
        }
        Ok(())
    }

    /// Writes what waits as far as that is possible.
    fn write_out(&mut self) -> Result<(), SinkError> {
        match self.try_write_out() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(SinkError::Closed),
            Err(error) => self.complain(&format!("cannot write to {}: {error}", self.path.display())),
            Ok(()) if !self.reopening => self.failing = None,
            Ok(()) => {}
        }
        Ok(())
    }

    fn try_write_out(&mut self) -> io::Result<()> {
        let mut written = 0;
        let outcome = loop {
            let rest = self.waiting.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.file.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => written += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        if let Some(last) = written.checked_sub(1).and_then(|last| self.waiting.get(last)) {
            self.torn = *last != b'\n';
        }
        self.waiting.drain(..written.min(self.waiting.len()));
        outcome
    }

    fn drop_first(&mut self) {
        let line = self.waiting.iter().position(|byte| *byte == b'\n').map_or(self.waiting.len(), |end| end + 1);
        self.waiting.drain(..line);
        self.torn = false;
        // Of which kind it was is not known any more; most are.
        self.lost.handshakes += 1;
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
        self.look()?;
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
        self.look()?;
        self.write_out()
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.look()?;
        Ok(self.try_write_out()?)
    }

    fn lost(&self) -> Lost {
        self.lost
    }
}

fn open(path: &Path) -> Result<File, SinkError> {
    let create = |source| SinkError::Create { path: path.display().to_string(), source };
    let mut file = create_options().create(true).append(true).open(path).map_err(create)?;
    if is_torn(path) {
        file.write_all(b"\n").map_err(create)?;
    }
    Ok(file)
}

/// Whether the last line of a file has no end, as a power cut or a full disk leaves it: the next event must not become a
/// part of it.
fn is_torn(path: &Path) -> bool {
    // A pipe has no last line, and to open it would wait.
    if !path.metadata().is_ok_and(|about| about.is_file() && about.len() > 0) {
        return false;
    }
    let mut last = [0];
    let read = File::open(path).and_then(|mut file| {
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
        let mut sink = ReopenedNdjson::append(&path, Arc::clone(&reopen), tell).unwrap();
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
            let mut sink = ReopenedNdjson::append(&path, Arc::clone(&reopen), tell).unwrap();
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
        let mut sink = ReopenedNdjson::append(&path, Arc::clone(&reopen), tell).unwrap();
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
        std::fs::create_dir(&here).unwrap();
        sink.flush().unwrap();
        line(&mut sink, b"3\n");
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"3\n");
        assert_eq!(sink.lost(), Lost::default());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_costs_lines_and_not_the_run() {
        let _alone = ALONE.lock().unwrap();
        let reopen = Arc::new(AtomicBool::new(false));
        let mut sink = ReopenedNdjson::append(Path::new("/dev/full"), Arc::clone(&reopen), tell).unwrap();
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
        assert!(told().len() == 1);
        // Room again: all that waited is written, in order.
        let folder = tempfile::tempdir().unwrap();
        sink.path = folder.path().join("events");
        reopen.store(true, Ordering::Relaxed);
        sink.finish().unwrap();
        let written = std::fs::read(&sink.path).unwrap();
        assert!(written.ends_with(b"x\nan alert\n") && written.len() == usize::try_from(kept).unwrap() * 1_000 + 9);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_torn_line_does_not_begin_a_file() {
        let _alone = ALONE.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let reopen = Arc::new(AtomicBool::new(true));
        let mut sink = ReopenedNdjson::append(&path, reopen, tell).unwrap();
        sink.file = File::options().write(true).open("/dev/full").unwrap();
        (sink.waiting, sink.torn) = (b"rest\nwhole\n".to_vec(), true);
        sink.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole\n");
        assert_eq!(sink.lost().handshakes, 1);
        told();
    }
}
