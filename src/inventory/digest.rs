//! Which capture a file is, by content.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::Digest as _;

use crate::x509::Sha256;

use super::{Capture, Content};

/// Files up to this many bytes are read in full; of longer ones, pieces.
const WHOLE: u64 = 64 << 20;
/// Pieces of a longer file, evenly spread, the first and the last bytes among them.
const PIECES: u64 = 64;
/// Bytes of the frames in a file that are looked at before it is read: no time that anybody notices, compressed or not.
const BEGINNING: u64 = 4 << 20;
/// Bytes of a piece.
const PIECE: u64 = 256 << 10;

impl Capture {
    /// Looks at a capture file. Of a file above 64 MiB 64 pieces of 256 KiB and the length tell it from others: to read
    /// it in full would double the time of a run.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut digest = sha2::Sha256::new();
        digest.update(bytes.to_be_bytes());
        if bytes <= WHOLE {
            copy(&mut file, WHOLE, &mut digest)?;
        } else {
            let last = bytes.saturating_sub(PIECE);
            for piece in 0..PIECES {
                file.seek(SeekFrom::Start(last / (PIECES - 1) * piece))?;
                copy(&mut file, PIECE, &mut digest)?;
            }
            file.seek(SeekFrom::Start(last))?;
            copy(&mut file, PIECE, &mut digest)?;
        }
        let digest = Sha256(digest.finalize().into());
        Ok(Self { digest, path: path.display().to_string(), bytes, content: None })
    }

    /// Looks at the first 4 MiB of the frames in the file, `packets`, which are the same in every format: no other capture
    /// begins so, but for one that went on later, which has another length. Of a longer one that is known at its end.
    #[must_use]
    pub fn with_content(mut self, packets: &mut dyn Read) -> Self {
        let mut digest = sha2::Sha256::new();
        let read = copy(packets, BEGINNING, &mut digest);
        // What has no frames is told from others by its bytes.
        self.content = read.ok().filter(|read| *read > 0).map(|read| Content {
            beginning: Sha256(digest.finalize().into()),
            bytes: (read < BEGINNING).then_some(read),
            plain: false,
        });
        self
    }
}

impl Content {
    /// Whether the files may be copies of one another: only their lengths can tell then. Two long classic files are none: in
    /// them there is nothing but frames, and their digests, which see all parts of them, differ.
    pub fn may_be(&self, other: &Self) -> bool {
        let short = [self, other].into_iter().any(|content| content.bytes.is_some_and(|bytes| bytes < BEGINNING));
        self.beginning == other.beginning && (short || !(self.plain && other.plain))
    }

    /// Whether one file is a copy of the other.
    pub fn is(&self, other: &Self) -> bool {
        self.may_be(other) && self.bytes.is_some() && self.bytes == other.bytes
    }
}

/// Returns how many bytes there were.
fn copy(file: &mut dyn Read, limit: u64, digest: &mut sha2::Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut piece = file.take(limit);
    let mut total = 0_u64;
    loop {
        let read = match piece.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(total) };
        total = total.saturating_add(u64::try_from(read).unwrap_or(0));
        digest.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_counts_and_the_name_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            Capture::of(&path).unwrap().digest
        };
        let long = vec![7; 200_000];
        let mut other = long.clone();
        other[150_000] = 8;
        assert_eq!(write("a", &long), write("b", &long));
        assert_ne!(write("a", &long), write("b", &other));
        assert_ne!(write("a", &long), write("b", &long[1..]));
        assert!(Capture::of(&folder.path().join("none")).is_err());
    }

    #[test]
    fn long_files_are_told_apart_by_length_and_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        file.set_len(WHOLE + 1_000_001).unwrap();
        let first = Capture::of(&path).unwrap();
        file.set_len(WHOLE + 1_000_002).unwrap();
        let longer = Capture::of(&path).unwrap();
        io::Write::write_all(&mut &file, b"x").unwrap();
        let other_begin = Capture::of(&path).unwrap();
        (&file).seek(SeekFrom::End(-1)).unwrap();
        io::Write::write_all(&mut &file, b"x").unwrap();
        let other_end = Capture::of(&path).unwrap();
        let mut all = vec![first.digest, longer.digest, other_begin.digest, other_end.digest];
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 4);
    }
}
