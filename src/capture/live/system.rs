//! System calls that neither libpcap nor the standard library offers.

use std::ffi::CStr;
use std::os::fd::RawFd;
use std::time::Duration;

/// What poll(2) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// There is something to read, or the time is over.
    Fine,
    /// It came back at once for another reason, and would do so again.
    Failing,
}

/// Waits until `descriptor` can be read, `wait` is over, or a signal comes.
#[expect(unsafe_code, reason = "poll(2): the standard library has no wait for a descriptor")]
pub(super) fn wait_readable(descriptor: RawFd, wait: Duration) -> Readiness {
    let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    let wait = libc::c_int::try_from(wait.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one valid pollfd lives for the whole call; poll(2) writes only into its `revents`.
    let ready = unsafe { libc::poll(&raw mut poll, 1, wait) };
    if ready > 0 && poll.revents & libc::POLLIN == 0 { Readiness::Failing } else { Readiness::Fine }
}

/// The name of this host; `None` where the system has none.
#[expect(unsafe_code, reason = "gethostname(2): the standard library does not offer it")]
pub fn host_name() -> Option<String> {
    let mut buffer = [0_u8; 256];
    // SAFETY: the buffer is valid for its length, of which the last byte is left out and stays 0.
    let failed = unsafe { libc::gethostname(buffer.as_mut_ptr().cast(), buffer.len() - 1) } != 0;
    if failed {
        return None;
    }
    let name = CStr::from_bytes_until_nul(&buffer).ok()?.to_string_lossy().into_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_time_or_with_something_to_read() {
        use std::io::Write;
        use std::os::fd::AsRawFd;
        let (reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(wait_readable(reader.as_raw_fd(), Duration::from_millis(1)), Readiness::Fine);
        writer.write_all(b"x").unwrap();
        assert_eq!(wait_readable(reader.as_raw_fd(), Duration::from_secs(60)), Readiness::Fine);
        // A descriptor that is not open gives POLLNVAL at once.
        assert_eq!(wait_readable(1_000_000, Duration::from_secs(60)), Readiness::Failing);
    }

    #[test]
    fn the_host_has_a_name() {
        let name = host_name().unwrap();
        let expected = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| name.clone());
        assert_eq!(name, expected.trim_end());
    }
}
