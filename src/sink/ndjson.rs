//! One JSON object a line, to a file or to standard output.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use super::{Event, Sink, SinkError, create_options, never_wait};

/// Bytes gathered before they are written: some thirty events, so that system calls do not show in a profile. More would
/// only push what is worked on out of the second-level cache.
const BUFFER: usize = 64 << 10;

/// Writes lines as they come.
#[derive(Debug)]
pub struct Ndjson<W: Write> {
    out: BufWriter<W>,
}

impl Ndjson<File> {
    /// Writes into a new file of mode 0640, or over an old one with events, whose mode stays.
    ///
    /// # Errors
    /// [`SinkError::Foreign`] when there is a file with something else in it, [`SinkError::Create`] when the file cannot be
    /// opened.
    pub fn create(path: &Path) -> Result<Self, SinkError> {
        refuse_foreign(path)?;
        let file = create_options().create(true).truncate(true).open(path);
        let file = file.map_err(|source| SinkError::Create { path: path.display().to_string(), source })?;
        Ok(Self::new(file))
    }
}

/// A capture is evidence, and `-o *.pcap` is quickly typed: only what looks like events is written over or appended to.
pub(super) fn refuse_foreign(path: &Path) -> Result<(), SinkError> {
    // Not pipes and devices; what cannot be looked at is told when it is opened.
    if !path.metadata().is_ok_and(|about| about.is_file() && about.len() > 0) {
        return Ok(());
    }
    let mut first = [0];
    match never_wait(File::options().read(true)).open(path).and_then(|mut file| file.read_exact(&mut first)) {
        Ok(()) if first != *b"{" => Err(SinkError::Foreign { path: path.display().to_string() }),
        _ => Ok(()),
    }
}

impl Ndjson<io::Stdout> {
    /// Writes to standard output.
    ///
    /// # Errors
    /// [`SinkError::NoOutput`] when there is none.
    pub fn stdout() -> Result<Self, SinkError> {
        Ok(Self::new(super::stdout::stdout()?))
    }
}

impl<W: Write> Ndjson<W> {
    /// Writes into `out` through a large buffer.
    pub fn new(out: W) -> Self {
        Self { out: BufWriter::with_capacity(BUFFER, out) }
    }
}

impl<W: Write> Sink for Ndjson<W> {
    fn write(&mut self, event: &Event<'_>) -> Result<(), SinkError> {
        Ok(self.out.write_all(event.line)?)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(self.out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::About;
    use crate::stats::Stats;

    fn event<'a>(line: &'a [u8], stats: &'a Stats) -> Event<'a> {
        Event { line, about: About::Stats(stats) }
    }

    #[test]
    fn a_new_file_is_not_for_everybody() {
        let stats = Stats::default();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.ndjson");
        std::fs::write(&path, "an older and longer file\n").unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut sink = Ndjson::create(&path).unwrap();
        sink.write(&event(b"{}\n", &stats)).unwrap();
        sink.write(&event(b"[]\n", &stats)).unwrap();
        sink.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"{}\n[]\n");
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
            assert_eq!(mode & 0o137, 0, "{mode:o}");
        }
        Ndjson::create(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = Ndjson::create(Path::new("/nonexistent-folder/x")).unwrap_err();
        assert!(error.to_string().starts_with("cannot create /nonexistent-folder/x: "));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        struct Gone(io::ErrorKind);
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let stats = Stats::default();
        let big = vec![b'x'; BUFFER + 1];
        let closed = Ndjson::new(Gone(io::ErrorKind::BrokenPipe)).write(&event(&big, &stats));
        assert!(matches!(closed, Err(SinkError::Closed)));
        let full = Ndjson::new(Gone(io::ErrorKind::StorageFull)).write(&event(&big, &stats));
        assert!(matches!(full, Err(SinkError::Write(_))));
    }
}
