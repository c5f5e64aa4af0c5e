//! A pipe, a socket or a terminal: whoever reads it may stop to. A sensor that is told to end must not wait for that for
//! ever; one who reads slowly gets everything.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that are written at once: where there is room for any, there is for so many (PIPE_BUF of Linux), so that no write
/// waits.
const PIECE: usize = 4_096;

/// Milliseconds between two looks whether something was read, and whether the run is to end.
const LOOK: u16 = 100;

/// Looks without any progress after which nobody is waited for once the run is to end: five seconds.
const LOOKS: u32 = 50;

/// The way to what is open for writing.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    /// The run is to end.
    ending: Arc<AtomicBool>,
    /// Somebody reads it, or does not.
    has_reader: bool,
    /// Nobody did, for so long.
    given_up: bool,
}

impl Pipe {
    /// To `file`; it is waited for until `ending` becomes true, and then as long as something is read.
    pub(super) fn of(file: &File, ending: Arc<AtomicBool>) -> Self {
        Self { ending, has_reader: system::has_reader(file), given_up: false }
    }

    /// The same to another file.
    pub(super) fn renewed(&self, file: &File) -> Self {
        Self::of(file, Arc::clone(&self.ending))
    }

    pub(super) fn has_reader(&self) -> bool {
        self.has_reader
    }

    /// Writes some of it.
    pub(super) fn write(&mut self, mut file: &File, octets: &[u8]) -> io::Result<usize> {
        if !self.has_reader {
            return file.write(octets);
        }
        let piece = octets.get(..PIECE).unwrap_or(octets);
        loop {
            self.wait(file)?;
            match file.write(piece) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return written,
            }
        }
    }

    fn wait(&mut self, file: &File) -> io::Result<()> {
        let (mut idle, mut unread) = (0, None);
        while !system::is_writable(file, if self.given_up { 0 } else { LOOK }) {
            let now = system::unread(file);
            let progress = unread.is_none_or(|before| now < before);
            unread = Some(now);
            idle = if progress || !self.ending.load(Ordering::Relaxed) { 0 } else { idle + 1 };
            if self.given_up || idle >= LOOKS {
                self.given_up = true;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"));
            }
        }
        self.given_up = false;
        Ok(())
    }
}

/// Waits no longer than for the output until a line for standard error finds room: somebody else may read that, too, or not.
#[cfg(unix)]
pub fn stderr_takes_a_line() -> bool {
    // A pipe has room for a page or for none.
    system::is_writable(&io::stderr(), LOOK.saturating_mul(u16::try_from(LOOKS).unwrap_or(1)))
}

/// What finds no room on standard error within that time is not said, and nothing after it.
#[cfg(unix)]
pub fn wait_for_stderr() {
    if !stderr_takes_a_line() {
        system::close_stderr();
    }
}

/// Opens what has somebody else at its other end, once he is there or the run is to end.
pub(super) fn open(options: &std::fs::OpenOptions, path: &std::path::Path, ending: &AtomicBool) -> io::Result<File> {
    loop {
        match options.open(path) {
            Err(error) if system::lacks_reader(&error) && !ending.load(Ordering::Relaxed) => {
                std::thread::sleep(std::time::Duration::from_millis(LOOK.into()));
            }
            opened => return opened,
        }
    }
}

#[cfg(unix)]
mod system {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::FileTypeExt as _;

    /// Whether this is no file on a disk, nor a device but a terminal.
    pub(super) fn has_reader(file: &File) -> bool {
        use std::io::IsTerminal as _;
        let kind = file.metadata().map(|about| about.file_type());
        kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket()) || file.is_terminal()
    }

    /// Waits so many milliseconds until something can be written, or it is known that nothing ever can.
    #[expect(unsafe_code, reason = "poll(2): the standard library has no wait for a descriptor")]
    pub(super) fn is_writable(file: &impl std::os::fd::AsRawFd, milliseconds: u16) -> bool {
        let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLOUT, revents: 0 };
        // SAFETY: one valid pollfd lives for the whole call; poll(2) writes only into its `revents`.
        unsafe { libc::poll(&raw mut poll, 1, milliseconds.into()) > 0 }
    }

    /// What is written to standard error from now on goes nowhere.
    #[expect(unsafe_code, reason = "dup2(2): the standard library has no name for it")]
    pub(super) fn close_stderr() {
        let Ok(nowhere) = File::options().write(true).open("/dev/null") else { return };
        // SAFETY: both descriptors are open; nobody holds one of standard error's number as his own.
        let _ = unsafe { libc::dup2(nowhere.as_raw_fd(), libc::STDERR_FILENO) };
    }

    /// Bytes that were written and not read yet, where that is known.
    #[expect(unsafe_code, reason = "ioctl(2): the standard library does not ask it")]
    pub(super) fn unread(file: &File) -> libc::c_int {
        let is_pipe = file.metadata().is_ok_and(|about| about.file_type().is_fifo());
        let mut bytes: libc::c_int = 0;
        let question = if is_pipe { libc::FIONREAD } else { libc::TIOCOUTQ };
        // SAFETY: both questions write one int, which lives for the whole call.
        let known = unsafe { libc::ioctl(file.as_raw_fd(), question, &raw mut bytes) } == 0;
        if known { bytes } else { 0 }
    }

    /// A pipe whose other end nobody has opened.
    pub(super) fn lacks_reader(error: &io::Error) -> bool {
        error.raw_os_error() == Some(libc::ENXIO)
    }
}

#[cfg(not(unix))]
mod system {
    use std::fs::File;
    use std::io;

    pub(super) fn has_reader(_: &File) -> bool {
        false
    }

    pub(super) fn is_writable(_: &File, _: u16) -> bool {
        true
    }

    pub(super) fn unread(_: &File) -> i32 {
        0
    }

    pub(super) fn lacks_reader(_: &io::Error) -> bool {
        false
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use super::*;

    /// A full pipe.
    fn full(ending: &Arc<AtomicBool>) -> (io::PipeReader, File, Pipe, usize) {
        let (reader, writer) = io::pipe().unwrap();
        let file = File::from(OwnedFd::from(writer));
        let mut pipe = Pipe::of(&file, Arc::clone(ending));
        let mut written = 0;
        while system::is_writable(&file, 0) {
            written += pipe.write(&file, &[b'x'; 5_000]).unwrap();
        }
        (reader, file, pipe, written)
    }

    #[test]
    fn whoever_does_not_read_is_waited_for_until_the_end_and_a_little_longer() {
        let ending = Arc::new(AtomicBool::new(false));
        let (reader, file, mut pipe, _) = full(&ending);
        let ends = Arc::clone(&ending);
        let waited = std::thread::spawn(move || {
            let error = pipe.write(&file, b"more").unwrap_err();
            assert!(ends.load(Ordering::Relaxed), "not before");
            assert_eq!(pipe.write(&file, b"more").unwrap_err().kind(), error.kind(), "and at once");
            error.to_string()
        });
        std::thread::sleep(Duration::from_millis(300));
        assert!(!waited.is_finished());
        ending.store(true, Ordering::Relaxed);
        assert_eq!(waited.join().unwrap(), "nobody reads it");
        drop(reader);
    }

    #[test]
    fn whoever_reads_slowly_gets_everything() {
        let ending = Arc::new(AtomicBool::new(true));
        let (mut reader, file, mut pipe, before) = full(&ending);
        let written = std::thread::spawn(move || pipe.write(&file, b"more").unwrap());
        // Not a page, after which there would be room, within the time that nobody is waited for.
        let mut octets = vec![0; before + 4];
        for place in 0..4 {
            std::thread::sleep(Duration::from_millis(2_000));
            reader.read_exact(&mut octets[place..=place]).unwrap();
        }
        assert!(!written.is_finished());
        reader.read_exact(&mut octets[4..]).unwrap();
        assert_eq!((written.join().unwrap(), &octets[before..]), (4, b"more".as_slice()));
    }

    #[test]
    fn whoever_went_away_is_known() {
        let (reader, file, mut pipe, _) = full(&Arc::default());
        drop(reader);
        assert_eq!(pipe.write(&file, b"more").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
