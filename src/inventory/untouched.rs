//! An inventory that is read and leaves no trace in its folder.
//!
//! Whoever opens a file in WAL mode as SQLite does makes a log and an index beside it, which only somebody who may write can
//! take away. So a file without a log, which nobody has open, is read as it lies, and looked at before each use; of one
//! with a log and no index, which somebody has left so, a copy is read. Where both are, the folder is not ours to keep tidy.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::InventoryError;
use super::store::{ALONE, BUSY, MAX_COPIED};

/// A file in WAL mode that nobody has open to write, as it was found.
#[derive(Debug)]
pub(super) struct Still {
    path: PathBuf,
    seen: Sight,
    over: AtomicBool,
}

/// What a writer changes.
#[derive(Debug, PartialEq, Eq)]
struct Sight {
    bytes: u64,
    modified: Option<SystemTime>,
    log: Option<u64>,
    index: bool,
}

impl Sight {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = path.metadata()?;
        Ok(Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            log: log_of(path).metadata().ok().map(|log| log.len()),
            index: index_of(path).exists(),
        })
    }

    fn has_empty_log(&self) -> bool {
        self.log.is_none_or(|bytes| bytes == 0)
    }
}

impl Still {
    /// `None` where somebody may have the file open, or has left something in its log.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        let seen = Sight::of(path)?;
        // Who has it open has a log. To look into the file would end locks that this process has on it.
        let is_free = seen.log.is_none() || (seen.has_empty_log() && !seen.index);
        let is_still = is_free && has_log_mode(path)?;
        Ok(is_still.then(|| Self { path: path.to_owned(), seen, over: AtomicBool::new(false) }))
    }

    /// The file as it lies.
    pub(super) fn open(&self) -> rusqlite::Result<Connection> {
        open_as_it_lies(&self.path)
    }

    /// A connection that hears of other programs, once somebody has begun to write: who does makes a log first, long before
    /// anything of it gets into the file. A file that was removed stays as it was.
    pub(super) fn reopened(&self) -> Option<rusqlite::Result<Connection>> {
        let over = self.over.load(Ordering::Relaxed)
            || Sight::of(&self.path).map_or(true, |now| now == self.seen)
            || self.over.swap(true, Ordering::Relaxed);
        (!over).then(|| open_beside_others(&self.path))
    }
}

/// A connection that reads beside whoever writes.
pub(super) fn open_beside_others(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | ALONE)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

/// Whether nothing stands in the log.
pub(super) fn has_empty_log(path: &Path) -> bool {
    Sight::of(path).is_ok_and(|seen| seen.has_empty_log())
}

/// Opens a file that nobody may change for as long as it is read, without what stands in its log: SQLite makes no file then
/// and sets no lock.
pub(super) fn open_as_it_lies(path: &Path) -> rusqlite::Result<Connection> {
    let escaped: String = path
        .as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => char::from(*byte).to_string(),
            _ => format!("%{byte:02x}"),
        })
        .collect();
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | ALONE;
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
}

/// A copy of a file and of what stands in the log that somebody has left beside it, gone when it is closed; `None` where there
/// is no such log, or too much.
pub(super) fn copied_with_log(path: &Path) -> Result<Option<Connection>, InventoryError> {
    let seen = Sight::of(path)?;
    let bytes = seen.bytes.saturating_add(seen.log.unwrap_or(0));
    if seen.has_empty_log() || seen.index || i64::try_from(bytes).map_or(true, |bytes| bytes > MAX_COPIED) {
        return Ok(None);
    }
    let folder = PrivateFolder::new()?;
    let copy = folder.0.join("inventory");
    copy_file(path, &copy)?;
    copy_file(&log_of(path), &log_of(&copy))?;
    if Sight::of(path)? != seen {
        // Somebody works with it after all.
        return Ok(None);
    }
    let source = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_WRITE | ALONE)?;
    nameless_copy(&source)
}

/// A copy that is nobody else's and is gone when it is closed; `None` where somebody holds the file.
pub(super) fn nameless_copy(source: &Connection) -> Result<Option<Connection>, InventoryError> {
    // Without a name SQLite keeps a database in memory, and what does not fit there in a file that has no name either.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | ALONE;
    let mut copy = Connection::open_with_flags("", flags)?;
    copy.pragma_update(None, "trusted_schema", false)?;
    let backup = Backup::new(source, &mut copy)?;
    // All at once, so that nobody writes in between.
    let done = matches!(backup.step(-1)?, StepResult::Done);
    drop(backup);
    Ok(done.then_some(copy))
}

fn log_of(path: &Path) -> PathBuf {
    with_end(path, "-wal")
}

fn index_of(path: &Path) -> PathBuf {
    with_end(path, "-shm")
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Whether the file keeps a log: its versions of writing and reading are 2 (file format of SQLite, section 1.3.3).
fn has_log_mode(path: &Path) -> io::Result<bool> {
    let mut beginning = Vec::new();
    File::open(path)?.take(20).read_to_end(&mut beginning)?;
    Ok(beginning.get(18..20) == Some(&[2, 2]))
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut to = OpenOptions::new().write(true).create_new(true).open(to)?;
    io::copy(&mut File::open(from)?, &mut to)?;
    Ok(())
}

/// A folder for the owner alone; it goes with what is in it.
struct PrivateFolder(PathBuf);

impl PrivateFolder {
    fn new() -> io::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("tlswatch-{}-{number}", std::process::id()));
            match builder.create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        // What cannot be removed stays with its owner.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::store::Store;
    use super::*;
    use crate::detect::sighting::HostKey;
    use crate::time::Timestamp;

    fn key(number: u16) -> HostKey {
        HostKey { name: format!("{number}.example"), port: 443 }
    }

    fn put(connection: &Connection, number: u16) {
        connection.execute("INSERT INTO baseline VALUES (?, 443, x'01', 7)", [key(number).name]).unwrap();
    }

    /// What stands in the folder.
    fn all(folder: &Path) -> BTreeMap<OsString, Vec<u8>> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect()
    }

    fn hosts(store: &Store) -> usize {
        store.baselines(None).unwrap().len()
    }

    /// A folder with an inventory of one host.
    fn inventory() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("i %#?.db");
        put(&Store::open(&path).unwrap().connection(), 1);
        (folder, path)
    }

    #[test]
    fn nothing_is_made_beside_a_file() {
        let (folder, path) = inventory();
        let before = all(folder.path());
        assert_eq!(before.len(), 1);
        let link = folder.path().join("link");
        #[cfg(unix)]
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for path in [&path, &link] {
            let store = Store::open_read_only(path).unwrap();
            assert_eq!(hosts(&store), 1);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "while it is read");
        }
        fs::remove_file(link).unwrap();
        assert_eq!(all(folder.path()), before);
        // As those leave it who read the file as SQLite does.
        fs::write(log_of(&path), b"").unwrap();
        assert_eq!(hosts(&Store::open_read_only(&path).unwrap()), 1);
        assert_eq!(all(folder.path()).len(), 2);
    }

    #[test]
    fn whoever_begins_to_write_is_heard() {
        let (folder, path) = inventory();
        let store = Store::open_read_only(&path).unwrap();
        assert_eq!(hosts(&store), 1);
        let writer = Store::open(&path).unwrap();
        assert_eq!(hosts(&store), 1);
        put(&writer.connection(), 2);
        assert_eq!(hosts(&store), 2);
        writer.connection().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        put(&writer.connection(), 3);
        assert_eq!(hosts(&store), 3);
        drop(store);
        drop(writer);
        assert_eq!(all(folder.path()).len(), 1, "who writes tidies up");
    }

    /// All that a short run wrote between two looks is in the file itself.
    #[test]
    fn whoever_came_and_went_is_heard() {
        let (_folder, path) = inventory();
        let store = Store::open_read_only(&path).unwrap();
        assert_eq!(hosts(&store), 1);
        put(&Store::open(&path).unwrap().connection(), 2);
        assert!(!log_of(&path).exists());
        assert_eq!(hosts(&store), 2);
    }

    #[test]
    fn what_a_living_writer_has_in_its_log_is_read() {
        let (folder, path) = inventory();
        let writer = Store::open(&path).unwrap();
        put(&writer.connection(), 2);
        let store = Store::open_read_only(&path).unwrap();
        put(&writer.connection(), 3);
        assert_eq!(hosts(&store), 3);
        drop(store);
        assert!(log_of(&path).exists() && index_of(&path).exists(), "they are the writer's");
        put(&writer.connection(), 4);
        drop(writer);
        assert_eq!(all(folder.path()).len(), 1);
        assert_eq!(hosts(&Store::open_read_only(&path).unwrap()), 4);
    }

    /// A file taken as evidence from a sensor that ran: its log is beside it, and the index that lies in memory is not.
    #[test]
    fn what_stands_in_a_log_that_was_left_is_read() {
        let (folder, path) = inventory();
        let writer = Store::open(&path).unwrap();
        put(&writer.connection(), 2);
        let taken = tempfile::tempdir().unwrap();
        let copy = taken.path().join("i.db");
        fs::copy(&path, &copy).unwrap();
        fs::copy(log_of(&path), log_of(&copy)).unwrap();
        drop(writer);
        let before = all(taken.path());
        let store = Store::open_read_only(&copy).unwrap();
        assert_eq!(hosts(&store), 2);
        assert!(store.baseline(&key(2)).unwrap().is_some());
        assert_eq!(all(taken.path()), before);
        drop(store);
        assert_eq!(all(taken.path()), before);
        let left = fs::read_dir(std::env::temp_dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let ours = format!("tlswatch-{}-", std::process::id());
        assert_eq!(left.filter(|name| name.to_string_lossy().starts_with(&ours)).count(), 0);
        drop(folder);
    }

    #[test]
    fn a_file_without_log_mode_is_left_to_sqlite() {
        let (folder, path) = inventory();
        let writer = Connection::open(&path).unwrap();
        writer.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(())).unwrap();
        assert!(Still::of(&path).unwrap().is_none());
        let store = Store::open_read_only(&path).unwrap();
        put(&writer, 2);
        assert_eq!(hosts(&store), 2);
        assert_eq!(store.last_packet().unwrap(), None::<Timestamp>);
        assert_eq!(all(folder.path()).len(), 1);
    }
}
