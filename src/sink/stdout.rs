//! Standard output, as long as there is one.
//!
//! A caller may start the program with standard output closed (`>&-`). Before `main`, Rust's standard library opens
//! `/dev/null` in its place, so that no file that is opened later gets its number; from then on every write succeeds and
//! nothing arrives. Whoever asks for events would get none, and an exit code that says that all went well. Afterwards the
//! two cannot be told apart (others hand over a `/dev/null` of their own on purpose), so it is asked before. The same goes
//! for one that is open for reading only (`1<file`): the standard library takes the failure of each write (EBADF) for none.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::SinkError;

/// Nothing could be written to standard output when the program started.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Standard output.
///
/// # Errors
/// [`SinkError::NoOutput`] when the caller closed it, or it is open for reading only.
pub fn stdout() -> Result<io::Stdout, SinkError> {
    if CLOSED.load(Ordering::Relaxed) { Err(SinkError::NoOutput) } else { Ok(io::stdout()) }
}

/// Runs before `main`, and before the standard library looks at the descriptors.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "fcntl(2), at a moment for which the standard library has no name")]
mod before_main {
    use std::sync::atomic::Ordering;

    // SAFETY: the loader calls what stands in this section, with arguments that a function without any may ignore, when
    // the C library is ready and no thread but this one runs.
    #[used]
    #[unsafe(link_section = ".init_array")]
    static LOOK: extern "C" fn() = look;

    extern "C" fn look() {
        // SAFETY: no pointers; a descriptor that is not open is an answer.
        let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFL) };
        let closed = flags == -1 || flags & libc::O_ACCMODE == libc::O_RDONLY;
        super::CLOSED.store(closed, Ordering::Relaxed);
    }
}
