//! A capture file in memory without copying it: a window of its pages, moved along.
//!
//! Reading a large capture is mostly the kernel's copy of it (two thirds of all time where nearly all packets are bulk). A
//! mapping costs less than half, but a process that touches a page which is gone is killed: when somebody cuts the file, or the
//! disk fails. So a window is only used while both cannot happen. A lease (fcntl(2), `F_SETLEASE`) makes who wants to write or
//! cut the file wait until the lease is given back, which [`Mapped::is_held`] is asked for after every pause; and all pages of
//! a window are read before it is touched, by a call that tells of a failing disk. Where either is not to be had, or a lease
//! binds only those on this side of a file system, files are read as ever.
//!
//! Workers read in windows too, of which they learn later than the reader: see [`Pages`].

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, PoisonError, RwLock};

use memmap2::{Mmap, MmapOptions};

/// Bytes of a window: small beside what a process needs, large beside what moving it costs.
const WINDOW: usize = 4 << 20;

/// Files shorter than this are not worth it.
const LEAST: u64 = 4 << 20;

/// A file of which a window is mapped.
#[derive(Debug)]
pub(super) struct Mapped {
    /// A handle to read on with.
    file: File,
    leased: Arc<Leased>,
    length: u64,
    window: Option<Arc<Pages>>,
}

/// A file and the lease on it.
#[derive(Debug)]
struct Leased {
    file: File,
    /// Whether the lease was not given back. Who reads in a window holds this meanwhile, and that never takes long.
    held: RwLock<bool>,
}

/// A window, for other threads than the one that reads the file.
///
/// The lease may be lost while they have other things to do: they may wait for a sink as long as that likes, but who wants to
/// write the file need only wait for a time. So each asks on its own, reads on in the window only for a moment, and holds back
/// the one who gives the lease back as long as that. Without lease, what was there is read from the file.
#[derive(Debug)]
pub struct Pages {
    window: Mmap,
    /// Its place in the file.
    offset: u64,
    leased: Arc<Leased>,
}

impl Pages {
    /// Where in these pages `bytes` lie; `None` if they lie elsewhere.
    #[inline]
    pub fn place_of(&self, bytes: &[u8]) -> Option<usize> {
        let place = bytes.as_ptr().addr().checked_sub(self.window.as_ptr().addr())?;
        (place.checked_add(bytes.len())? <= self.window.len()).then_some(place)
    }

    /// The bytes, for the thread that reads the file and therefore knows that the lease is held.
    pub fn bytes(&self) -> &[u8] {
        &self.window
    }

    /// Place of the first byte in the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether other bytes than `bytes` lie at `place` of the file; `false` if somebody may have changed it.
    pub fn differs(&self, mut place: u64, bytes: &[u8]) -> bool {
        let mut buffer = [0; 2_048];
        let mut differs = false;
        for bytes in bytes.chunks(buffer.len()) {
            let Some(buffer) = buffer.get_mut(..bytes.len()) else { return false };
            if (At { file: &self.leased.file, offset: place }).read_exact(buffer).is_err() {
                return false;
            }
            differs |= buffer != bytes;
            place = place.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
        }
        // What was read was still the same when this is so afterwards.
        differs && lease::is_held(&self.leased.file)
    }

    /// Lends the bytes for a short time, in which nothing may wait for another thread. They are fewer if the file was cut.
    pub fn lend<R>(&self, read: impl FnOnce(&[u8]) -> R) -> R {
        let held = self.leased.held.read().unwrap_or_else(PoisonError::into_inner);
        if *held && lease::is_held(&self.leased.file) {
            return read(&self.window);
        }
        drop(held);
        let mut copy = Vec::new();
        let length = u64::try_from(self.window.len()).unwrap_or(0);
        // A file that fails now gives what could be read of it; the reader will meet the failure itself and tell it.
        let _ = At { file: &self.leased.file, offset: self.offset }.take(length).read_to_end(&mut copy);
        read(&copy)
    }
}

/// Reads a file from a place on, without moving the handle, which others share.
struct At<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = lease::read_at(self.file, buffer, self.offset)?;
        self.offset = self.offset.saturating_add(u64::try_from(length).unwrap_or(0));
        Ok(length)
    }
}

impl Mapped {
    /// Takes the lease, if the file is one that it is worth it for and that it is given for.
    pub(super) fn new(file: File) -> Option<Self> {
        file.metadata().ok().filter(|about| about.is_file() && about.len() >= LEAST)?;
        let second = file.try_clone().ok()?;
        lease::take(&file)?;
        // Only now nobody can change it any more.
        let length = file.metadata().map_or(0, |about| about.len());
        let leased = Arc::new(Leased { file: second, held: RwLock::new(true) });
        Some(Self { file, leased, length, window: None })
    }

    /// Whether nobody waits for the file. The window must not be touched after half a minute without asking.
    pub(super) fn is_held(&self) -> bool {
        lease::is_held(&self.file)
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Whether the file ends at `offset`; nobody can have changed it.
    pub(super) fn ends_at(&self, offset: u64) -> bool {
        offset == self.length && self.is_held()
    }

    /// The bytes of the window.
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        self.window.as_ref().map(|pages| pages.window.as_ref()).unwrap_or_default()
    }

    /// The window, for other threads.
    #[inline]
    pub(super) fn pages(&self) -> Option<&Arc<Pages>> {
        self.window.as_ref()
    }

    /// Moves the window to `offset`, with `need` bytes if the file has so many there. `false` when it ends at `offset`, or the
    /// mapping is not to be had.
    pub(super) fn move_to(&mut self, offset: u64, need: usize) -> bool {
        // First, so that two windows count together only while workers read in the old one.
        self.window = None;
        let rest = self.length.saturating_sub(offset);
        let length = usize::try_from(rest).unwrap_or(usize::MAX).min(need.max(WINDOW));
        if length == 0 || !self.is_held() {
            return false;
        }
        let leased = Arc::clone(&self.leased);
        let window = map(&self.file, offset, length).filter(lease::read_all);
        self.window = window.map(|window| Arc::new(Pages { window, offset, leased }));
        self.window.is_some()
    }

    /// Gives the lease back, and the file to read on with. Whoever is reading in a window of it is waited for.
    pub(super) fn into_file(self) -> File {
        let Self { file, leased, .. } = self;
        *leased.held.write().unwrap_or_else(PoisonError::into_inner) = false;
        lease::give_back(&file);
        file
    }
}

/// Leases of files (fcntl(2)), and pages read before they are touched (madvise(2)).
#[cfg(target_os = "linux")]
mod lease {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;

    /// Chooses the signal that tells of somebody waiting for the file; libc does not name it.
    const F_SETSIG: libc::c_int = 10;

    /// File systems whose files change through this kernel only (f_type of statfs(2)): ext2 to ext4, XFS, Btrfs, F2FS, ZFS,
    /// tmpfs, and overlays of containers, below which nothing may change while they are mounted (the kernel's
    /// documentation of overlayfs). Elsewhere it may give a lease that does not bind who changes the file, such as the other
    /// side of a FUSE file system (sshfs, shares of virtual machines).
    const LOCAL: [u32; 7] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1, 0x0102_1994, 0x794c_7630];

    /// Takes a lease for reading; `None` when somebody writes the file, it belongs to another user, or a lease says nothing on
    /// its file system.
    pub(super) fn take(file: &File) -> Option<()> {
        kind(file).filter(|kind| LOCAL.contains(kind))?;
        // A signal that is ignored by default: whether somebody waits is asked for instead.
        control(file, F_SETSIG, libc::SIGURG)?;
        control(file, libc::F_SETLEASE, libc::F_RDLCK).map(|_| ())
    }

    /// Whether nobody waits for the file.
    pub(super) fn is_held(file: &File) -> bool {
        control(file, libc::F_GETLEASE, 0) == Some(libc::F_RDLCK)
    }

    /// Lets others go on.
    pub(super) fn give_back(file: &File) {
        let _ = control(file, libc::F_SETLEASE, libc::F_UNLCK);
    }

    /// Reads all pages, which tells of a disk that fails.
    pub(super) fn read_all(window: &memmap2::Mmap) -> bool {
        window.advise(memmap2::Advice::PopulateRead).is_ok()
    }

    /// Reads at a place (pread(2)).
    pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buffer, offset)
    }

    #[expect(unsafe_code, reason = "fstatfs(2): the standard library does not tell file systems apart")]
    fn kind(file: &File) -> Option<u32> {
        let mut about = std::mem::MaybeUninit::<libc::statfs>::zeroed();
        // SAFETY: the descriptor is open, and the call writes to this structure only, for which zeros are a value.
        let about = unsafe {
            let answer = libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr());
            (answer == 0).then(|| about.assume_init())
        };
        u32::try_from(about?.f_type).ok()
    }

    #[expect(unsafe_code, reason = "fcntl(2): the standard library does not offer leases")]
    fn control(file: &File, command: libc::c_int, argument: libc::c_int) -> Option<libc::c_int> {
        // SAFETY: the commands used take an integer and touch no memory of this process; the descriptor is open.
        let answer = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
        (answer >= 0).then_some(answer)
    }
}

/// Other systems have no leases: files are read there.
#[cfg(not(target_os = "linux"))]
mod lease {
    use std::fs::File;
    use std::io;

    pub(super) fn take(_: &File) -> Option<()> {
        None
    }

    pub(super) fn is_held(_: &File) -> bool {
        false
    }

    pub(super) fn give_back(_: &File) {}

    pub(super) fn read_all(_: &memmap2::Mmap) -> bool {
        false
    }

    /// There are no windows, so nobody asks.
    pub(super) fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }
}

#[expect(unsafe_code, reason = "a mapping is only sound while nobody changes the file")]
fn map(file: &File, begin: u64, length: usize) -> Option<Mmap> {
    // SAFETY: the lease keeps others from writing or cutting the file as long as it is held, which the caller has asked, and
    // asks again after every pause.
    let mapped: io::Result<Mmap> = unsafe { MmapOptions::new().offset(begin).len(length).map(file) };
    mapped.ok()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::path::Path;
    use std::thread;

    use super::super::{Damage, Files, Next, Options, ProblemKind, Source};
    use super::*;

    /// A classic file of a little more than three windows, with frames of all sizes up to 3,000 bytes.
    fn capture() -> Vec<u8> {
        let mut bytes: Vec<u8> =
            [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1].into_iter().flat_map(u32::to_le_bytes).collect();
        for number in 0_u32.. {
            let length = number * 37 % 3_000;
            for value in [number, 0, length, length] {
                bytes.extend(value.to_le_bytes());
            }
            bytes.extend((0..length).map(|at| (at ^ number).to_le_bytes()[0]));
            if bytes.len() > 3 * WINDOW + 12_345 {
                break;
            }
        }
        bytes
    }

    type Seen = Vec<(u64, i64, Vec<u8>)>;

    /// All frames: by runs as far as there are some, or one by one; `between` is called after each run, or thousand frames.
    fn drain(files: &mut Files, by_runs: bool, mut between: impl FnMut(&mut Files, usize)) -> Seen {
        let mut seen = Seen::new();
        loop {
            if by_runs && let Some(run) = files.run() {
                let before = seen.len();
                seen.extend(run.take(1_000).map(|frame| (frame.number, frame.timestamp.0, frame.data.to_vec())));
                if seen.len() > before {
                    between(files, seen.len());
                    continue;
                }
            }
            match files.next().unwrap() {
                Next::Frame(frame) => seen.push((frame.number, frame.timestamp.0, frame.data.to_vec())),
                _ => return seen,
            }
            if seen.len().is_multiple_of(1_000) {
                between(files, seen.len());
            }
        }
    }

    fn open(path: &Path) -> Files {
        Files::open(&[path.to_owned()], Options::default())
    }

    fn plain(bytes: Vec<u8>) -> (Seen, Files) {
        let mut files = Files::from_reader("x", Box::new(io::Cursor::new(bytes)), Options::default());
        (drain(&mut files, false, |_, _| {}), files)
    }

    /// Whether leases are to be had where tests keep their files.
    fn leases(path: &Path) -> bool {
        Mapped::new(File::open(path).unwrap()).is_some()
    }

    #[test]
    fn mapped_files_give_what_read_ones_give() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcap");
        let whole = capture();
        for length in [whole.len(), whole.len() - 1, WINDOW + 24, WINDOW + 40, WINDOW - 1] {
            let bytes = whole.get(..length).unwrap().to_vec();
            fs::write(&path, &bytes).unwrap();
            let (expected, reader) = plain(bytes);
            for by_runs in [false, true] {
                let mut files = open(&path);
                assert_eq!(drain(&mut files, by_runs, |files, _| files.refresh()), expected, "{length} {by_runs}");
                let (stats, plain) = (files.stats(), reader.stats());
                assert_eq!(stats.capture_packets, plain.capture_packets);
                assert_eq!(stats.capture_bytes, plain.capture_bytes);
                assert_eq!(stats.capture_damaged, plain.capture_damaged);
                assert_eq!(files.progress().read, u64::try_from(length).unwrap());
            }
        }
    }

    /// Somebody cuts the file while it is read: he waits until the window is left, and what he left is read.
    #[test]
    fn a_file_that_is_cut_is_read_to_where_it_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcap");
        let whole = capture();
        for kept in [2 * WINDOW, 100] {
            fs::write(&path, &whole).unwrap();
            if !leases(&path) {
                return;
            }
            let mut files = open(&path);
            let mut cutter = None;
            let mut left = 0;
            let seen = drain(&mut files, true, |files, number| {
                if number < 1_000 || cutter.is_some() {
                    return;
                }
                let path = path.clone();
                let cut = move || {
                    let file = OpenOptions::new().write(true).open(path).unwrap();
                    file.set_len(u64::try_from(kept).unwrap()).unwrap();
                };
                cutter = Some(thread::spawn(cut));
                left = number;
                // As a slow sink would make the reader wait; the one who cuts waits for the reader meanwhile.
                for _ in 0..10_000 {
                    if cutter.as_ref().unwrap().is_finished() {
                        break;
                    }
                    files.refresh();
                    thread::sleep(std::time::Duration::from_millis(1));
                }
            });
            cutter.unwrap().join().unwrap();
            let expected = plain(whole.get(..kept).unwrap().to_vec()).0;
            assert_eq!(seen.get(left..).unwrap(), expected.get(left..).unwrap_or_default(), "{kept}");
            assert_eq!(seen.get(..left).unwrap(), plain(whole.clone()).0.get(..left).unwrap(), "{kept}");
            assert_eq!(files.stats().capture_damaged, 1);
            let kind = &files.problems().first().unwrap().kind;
            assert!(matches!(kind, ProblemKind::Damaged { damage: Damage::Shortened, .. }), "{kind:?}");
        }
    }

    /// Whoever has pages of a file sees what is there: also when the lease is gone, and when the file is cut then.
    #[test]
    fn pages_outlive_the_lease() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcap");
        let whole = capture();
        fs::write(&path, &whole).unwrap();
        let Some(mut mapped) = Mapped::new(File::open(&path).unwrap()) else { return };
        assert!(mapped.move_to(0, 1));
        let first = Arc::clone(mapped.pages().unwrap());
        assert!(mapped.move_to(4_096, 2 * WINDOW));
        let second = Arc::clone(mapped.pages().unwrap());
        let part = second.window.get(10..20).unwrap();
        assert_eq!((second.place_of(part), first.place_of(part), first.place_of(&whole)), (Some(10), None, None));
        let check = |first_len: usize, second_len: usize| {
            assert!(first.lend(|bytes| bytes == &whole[..first_len]));
            assert!(second.lend(|bytes| bytes == &whole[4_096..][..second_len]));
        };
        check(WINDOW, 2 * WINDOW);
        drop(mapped.into_file());
        check(WINDOW, 2 * WINDOW);
        OpenOptions::new().write(true).open(&path).unwrap().set_len(6_000).unwrap();
        check(6_000, 6_000 - 4_096);
    }

    /// What was read earlier is compared wherever it lies in the file, and contradicts nothing once somebody may have changed it.
    #[test]
    fn bytes_that_were_read_are_compared_while_the_lease_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcap");
        let whole = capture();
        fs::write(&path, &whole).unwrap();
        let Some(mut mapped) = Mapped::new(File::open(&path).unwrap()) else { return };
        assert!(mapped.move_to(4_096, 1));
        let pages = Arc::clone(mapped.pages().unwrap());
        assert_eq!((pages.offset(), pages.bytes()), (4_096, &whole[4_096..][..WINDOW]));
        let mut wrong = whole.clone();
        wrong[9_000] ^= 1;
        for (from, length) in [(0, 1), (9_000, 1), (8_999, 3), (8_000, 1_000), (5, 20_000), (9_001, 2_048)] {
            let place = u64::try_from(from).unwrap();
            assert!(!pages.differs(place, &whole[from..from + length]));
            assert_eq!(pages.differs(place, &wrong[from..from + length]), (from..from + length).contains(&9_000));
        }
        let end = u64::try_from(whole.len()).unwrap();
        assert!(!pages.differs(end - 1, &[1, 2]), "there are not so many");
        drop(mapped.into_file());
        assert!(!pages.differs(9_000, &wrong[9_000..9_001]));
    }

    /// Nobody on this side of procfs can write to the file, but it changes all the same; as on a FUSE file system.
    #[cfg(target_os = "linux")]
    #[test]
    fn files_that_change_without_the_kernel_are_not_mapped() {
        let file = File::open("/proc/self/maps").unwrap();
        assert!(lease::take(&file).is_none());
    }

    /// While somebody reads in pages, the lease stays.
    #[test]
    fn who_reads_in_pages_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcap");
        fs::write(&path, capture()).unwrap();
        let Some(mut mapped) = Mapped::new(File::open(&path).unwrap()) else { return };
        assert!(mapped.move_to(0, 1));
        let pages = Arc::clone(mapped.pages().unwrap());
        thread::scope(|scope| {
            pages.lend(|bytes| {
                let giving = scope.spawn(|| mapped.into_file());
                thread::sleep(std::time::Duration::from_millis(50));
                assert!(!giving.is_finished());
                assert_eq!(bytes.len(), WINDOW);
            });
        });
    }

    /// A file that somebody writes is not mapped, so it may grow or shrink as it likes.
    #[test]
    fn a_file_that_is_written_is_not_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pcap");
        fs::write(&path, capture()).unwrap();
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert!(!leases(&path));
        drop(writer);
    }
}
