//! The inventory of a run of `read`.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::capture::{Files, Packets, Source as _};
use crate::cli::tell;
use crate::detect::alerts::Alert;
use crate::detect::alerts::kept::Before;
use crate::detect::alerts::past::Past;
use crate::detect::finding::AlertId;
use crate::detect::hosts::backing::{Backing, ClientUse, Edit, ToldBefore};
use crate::detect::hosts::record::HostRecord;
use crate::detect::knowledge::Knowledge;
use crate::detect::observation::{Ends, Observation};
use crate::detect::sighting::HostKey;
use crate::detect::stored::past;
use crate::inventory::{Baselines, Capture, Content, Counted, Gather, Inventory, InventoryError, Store};
use crate::pipeline::Selection;
use crate::text::printable;
use crate::time::{Moment, Timestamp};
use crate::x509::Sha256;

/// The inventory that a run writes, and which captures it is about.
pub(crate) struct Memory {
    inventory: Arc<Inventory>,
    /// By number of the file in the run.
    captures: HashMap<u32, Capture>,
    /// What the inventory has.
    counted: Arc<Counted>,
    /// What the baselines have, those of the other inventory too.
    old: Arc<Counted>,
    /// Files of which nothing is counted, because too much of them was read in part before.
    uncounted: u64,
    /// Captures that were read before count once more.
    again: bool,
    /// The lists that what is stored was judged by.
    applied: Arc<Mutex<Option<Sha256>>>,
}

/// What is stored, to be judged by lists that were loaded later.
#[derive(Clone, Debug)]
pub(crate) struct Retrospect {
    inventory: Arc<Inventory>,
    applied: Arc<Mutex<Option<Sha256>>>,
}

impl Retrospect {
    /// What lists with this digest say of what is stored and was not told yet.
    pub(crate) fn past(&self, knowledge: &Knowledge, lists: Sha256) -> Result<Vec<Past>, InventoryError> {
        let before = self.applied.lock().unwrap_or_else(PoisonError::into_inner).replace(lists);
        if before == Some(lists) {
            // What came since was judged by them on the wire.
            return Ok(Vec::new());
        }
        let store = self.inventory.store();
        let applied = store.applied()?.filter(|applied| applied.lists == lists && before.is_none());
        let found = store.listed(knowledge, applied.as_ref())?;
        for what in found.not_looked_at() {
            tell(&format!("inventory: {what}"));
        }
        let told = |id: &AlertId, rule: &str| {
            let alert = self.inventory.alert(&id.to_string()).ok().flatten()?;
            let event: Value = serde_json::from_str(&alert.json).ok()?;
            let rules = event.pointer("/tlswatch/alert/rules")?.as_array()?;
            rules.iter().any(|one| one == rule).then_some((alert.first, alert.last))
        };
        Ok(past((found.listed, found.indicated), &knowledge.policy, told))
    }
}

impl Memory {
    /// Opens the inventory, and another one whose hosts are known too.
    pub(crate) fn open(inventory: Option<&Path>, baseline: Option<&Path>) -> Result<Self, MemoryError> {
        let failed = |path: &Path| {
            let path = path.display().to_string();
            |error| MemoryError { path, error }
        };
        let mut opened = match inventory {
            Some(path) => Inventory::open(path).map_err(failed(path))?,
            None => Inventory::in_memory().map_err(failed(Path::new("memory")))?,
        };
        if let Some(path) = baseline {
            opened = opened.with_base(Store::open_read_only(path).map_err(failed(path))?);
        }
        let inventory = Arc::new(opened);
        Ok(Self {
            inventory,
            captures: HashMap::new(),
            counted: Arc::default(),
            old: Arc::default(),
            uncounted: 0,
            again: false,
            applied: Arc::default(),
        })
    }

    /// Looks what of the files the inventory knows.
    pub(crate) fn look_at(&mut self, files: &Files, again: bool) -> Result<(), InventoryError> {
        self.again = again;
        let (mut counted, mut old) = (Counted::default(), Counted::default());
        for file in 0.. {
            let Some(path) = files.file_path(file) else { break };
            // What cannot be read, or only once, is new; the reader tells of problems.
            let Some(mut capture) = regular(path).and_then(|path| looked_at(&path).ok()) else { continue };
            let digest = capture.digest;
            if again {
                self.captures.insert(file, capture);
                continue;
            }
            let same = |other: &mut Capture| other.digest == digest || is_copy(&mut capture, other);
            let twice = self.captures.values_mut().any(same);
            let known = twice || self.inventory.store().has_capture(&digest)? || self.has_copy(&mut capture, false)?;
            let known_too = known || self.inventory.has_capture(&digest)? || self.has_copy(&mut capture, true)?;
            self.captures.insert(file, capture);
            for (counted, known, base) in [(&mut counted, known, false), (&mut old, known_too, true)] {
                if known {
                    counted.files.insert(file);
                } else if let Some(handshakes) = self.inventory.counted(&digest, base)? {
                    counted.handshakes.insert(file, handshakes);
                } else {
                    // Rather nothing than twice.
                    if base {
                        let why = "too much of it was read in part before: nothing of it is counted again";
                        tell(&printable(&format!("{path}: {why}")));
                        self.uncounted += 1;
                    }
                    counted.files.insert(file);
                }
            }
        }
        (self.counted, self.old) = (Arc::new(counted), Arc::new(old));
        Ok(())
    }

    /// Whether the inventory, or the other one too, has a copy of a capture in another format.
    fn has_copy(&self, capture: &mut Capture, base: bool) -> Result<bool, InventoryError> {
        let Some(content) = capture.content else { return Ok(false) };
        let mut others = self.inventory.contents(&content.beginning, base)?;
        others.retain(|other| content.may_be(other));
        Ok(!others.is_empty() && measured(capture).is_some_and(|content| others.iter().any(|other| content.is(other))))
    }

    /// Files of which nothing is counted, because too much of them was read in part before.
    pub(crate) fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// How many of the captures the inventory has already, and how many there are: those that can be told apart.
    pub(crate) fn known(&self) -> (usize, usize) {
        (self.counted.files.len(), self.captures.len())
    }

    /// The sink of the run; `whole`: the captures are read without leaving anything out.
    pub(crate) fn sink(&self, batch: u32, whole: bool) -> Gather {
        let batch = usize::try_from(batch).unwrap_or(crate::inventory::BATCH_HANDSHAKES);
        let new = self.captures.iter().filter(|(file, _)| !whole && !self.counted.files.contains(*file));
        let parts = new.map(|(file, capture)| (*file, capture.digest)).collect();
        let gather = Gather::new(Arc::clone(&self.inventory), batch).without(Arc::clone(&self.counted));
        gather.of_parts(parts).uncommitted()
    }

    /// The sink of a network that is watched.
    #[cfg(feature = "live")]
    pub(crate) fn live_sink(&self) -> Gather {
        let every = crate::time::Span(crate::detect::hosts::SAVE_EVERY);
        self.inventory.bear(|line| tell(&printable(line)));
        Gather::new(Arc::clone(&self.inventory), crate::inventory::BATCH_HANDSHAKES).at_leisure(every)
    }

    /// The baselines of the run, which learn from what the run is about.
    pub(crate) fn baselines(&self, selection: Selection) -> Arc<dyn Backing> {
        let baselines = Baselines::new(Arc::clone(&self.inventory), Arc::clone(&self.old));
        Arc::new(Selected { baselines, selection })
    }

    /// What is stored, for lists that were loaded later.
    pub(crate) fn retrospect(&self) -> Retrospect {
        Retrospect { inventory: Arc::clone(&self.inventory), applied: Arc::clone(&self.applied) }
    }

    /// The run is over; `whole`: the captures were read to their end, all of them. Gives the paths of those that another
    /// run has read meanwhile, which counted them too.
    pub(crate) fn complete(
        self,
        whole: bool,
        content_length: impl Fn(u32) -> Option<u64>,
    ) -> Result<Vec<String>, InventoryError> {
        let mut captures: Vec<_> = self.captures.into_iter().filter(|_| whole).collect();
        captures.sort_unstable_by_key(|(file, _)| *file);
        let mut new = Vec::new();
        for (file, mut capture) in captures {
            if let Some(content) = &mut capture.content {
                content.bytes = content.bytes.or_else(|| content_length(file));
            }
            if !self.again && !self.counted.files.contains(&file) {
                new.push((capture.digest, capture.path.clone()));
            }
            self.inventory.put_capture(capture)?;
        }
        self.inventory.commit()?;
        let applied = *self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lists) = applied {
            self.inventory.store().note_applied(lists)?;
        }
        let known = self.inventory.known_captures();
        new.retain(|(digest, _)| known.contains(digest));
        Ok(new.into_iter().map(|(_, path)| path).collect())
    }
}

/// A capture and what it begins with.
fn looked_at(path: &Path) -> io::Result<Capture> {
    let capture = Capture::of(path)?;
    let mut packets = Packets::of(path)?;
    let mut capture = capture.with_content(&mut packets);
    if let Some(content) = &mut capture.content {
        content.plain = packets.is_plain();
    }
    Ok(capture)
}

/// Whether one capture is a copy of the other in another format.
fn is_copy(one: &mut Capture, other: &mut Capture) -> bool {
    let may_be = one.content.zip(other.content).is_some_and(|(one, other)| one.may_be(&other));
    may_be && measured(one).zip(measured(other)).is_some_and(|(one, other)| one.is(&other))
}

/// What is in a capture, with its length. A long one is read through for that, which takes about as long as to read it as a
/// capture: only where another one begins in the same way.
fn measured(capture: &mut Capture) -> Option<Content> {
    let content = capture.content.as_mut()?;
    if content.bytes.is_none() {
        let mut all = Packets::of(Path::new(&capture.path)).ok()?;
        let mut counting = Counting(0);
        // What comes before damage counts, as when it is read.
        let _ = io::copy(&mut all, &mut counting);
        content.bytes = Some(counting.0);
    }
    Some(*content)
}

/// Counts what is written.
struct Counting(u64);

impl io::Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Baselines that count the handshakes of a selection only, as the inventory does: what is left out is there for a later
/// run to count.
#[derive(Debug)]
struct Selected {
    baselines: Baselines,
    selection: Selection,
}

impl Backing for Selected {
    fn read(&self, key: &HostKey) -> Option<HostRecord> {
        self.baselines.read(key)
    }

    fn accepted(&self, key: &HostKey) -> Vec<Sha256> {
        self.baselines.accepted(key)
    }

    fn edits(&self) -> Vec<Edit> {
        self.baselines.edits()
    }

    fn forget(&self, key: &HostKey) {
        self.baselines.forget(key);
    }

    fn public_domains(&self) -> Vec<u64> {
        self.baselines.public_domains()
    }

    fn client_uses(&self) -> Vec<ClientUse> {
        self.baselines.client_uses()
    }

    fn write(&self, record: &HostRecord) {
        self.baselines.write(record);
    }

    fn flush(&self) {
        self.baselines.flush();
    }

    fn finish(&self) {
        self.baselines.finish();
    }

    fn expire(&self, before: Timestamp) {
        self.baselines.expire(before);
    }

    fn was_read(&self, ends: Option<&Ends>, moment: &Moment) -> bool {
        self.baselines.was_read(ends, moment)
    }

    fn is_old(&self, observation: &Observation) -> bool {
        !self.selection.takes(observation) || self.baselines.is_old(observation)
    }

    fn told(&self, id: &AlertId) -> Option<ToldBefore> {
        self.baselines.told(id)
    }

    fn about(&self, id: &AlertId) -> Before {
        self.baselines.about(id)
    }

    fn counted(&self, alert: &Alert, lists: bool) {
        self.baselines.counted(alert, lists);
    }

    fn knows(&self, certificate: &Sha256) -> bool {
        self.baselines.knows(certificate)
    }
}

/// An inventory that cannot be used, and which.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub(crate) struct MemoryError {
    path: String,
    error: InventoryError,
}

fn regular(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(path);
    path.metadata().is_ok_and(|metadata| metadata.is_file()).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::capture::Options;

    /// So many frames of 20,000 bytes, each another one.
    fn frames(count: usize) -> Vec<Vec<u8>> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..count).map(|_| std::iter::repeat_with(&mut next).take(20_000).collect()).collect()
    }

    /// A classic file with a frame each second.
    fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let mut out = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
        for (second, frame) in (1_700_000_000..).zip(frames) {
            out.extend(words(&[second, 7, 20_000, 20_000]));
            out.extend(frame);
        }
        out
    }

    /// The same in blocks, with a comment of whole words on the section.
    fn pcapng(frames: &[Vec<u8>], comment: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut block = |kind: u32, body: &[u8]| {
            let length = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
            out.extend([&kind.to_le_bytes()[..], &length, body, &length].concat());
        };
        let option = [&[1, 0][..], &u16::try_from(comment.len()).unwrap().to_le_bytes(), comment, &[0; 4]].concat();
        block(0x0a0d_0d0a, &[&[0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0][..], &[0xff; 8], &option].concat());
        block(1, &[1, 0, 0, 0, 0, 0, 4, 0]);
        for (second, frame) in (1_700_000_000_u64..).zip(frames) {
            let time = second * 1_000_000 + 7;
            let [low, high] = [time & 0xffff_ffff, time >> 32].map(|half| u32::try_from(half).unwrap());
            let words: Vec<u8> =
                [0, high, low, 20_000, 20_000].iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
            block(6, &[&words[..], frame].concat());
        }
        out
    }

    fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Changes the last byte of the last frame.
    fn changed(mut frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        *frames.last_mut().unwrap().last_mut().unwrap() ^= 1;
        frames
    }

    #[test]
    fn copies_in_other_formats_are_told_from_captures_that_begin_alike() {
        // More and less than what is looked at first.
        let (long, small) = (frames(216), frames(10));
        let files = [
            ("long", pcap(&long[..215])),
            ("long.gz", gzip(&pcap(&long[..215]), 1)),
            ("long.ng", pcapng(&long[..215], b"")),
            ("long.comment.ng", pcapng(&long[..215], b"read again!!")),
            ("longer.ng", pcapng(&long, b"")),
            ("shorter", pcap(&long[..214])),
            ("other", pcap(&changed(long[..215].to_vec()))),
            ("early.gz", gzip(&pcap(&[changed(long[..1].to_vec()), long[1..215].to_vec()].concat()), 1)),
            ("small", pcap(&small)),
            ("small.gz", gzip(&pcap(&small), 0)),
            ("small.ng", pcapng(&small, b"")),
            ("small.other.gz", gzip(&pcap(&changed(small.clone())), 1)),
            ("smaller.ng", pcapng(&small[..9], b"")),
            ("empty", pcap(&[])),
            ("empty.ng", pcapng(&[], b"")),
        ];
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in &files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let inventory = folder.path().join("i.db");
        // Which of the second ones are known once the first one was read to its end, and then all together in one run.
        for (first, known) in [
            ("long", &["long", "long.gz", "long.ng", "long.comment.ng"][..]),
            // Where blocks or compression hide what a file consists of, only the first 4 MiB of frames are compared.
            ("long.gz", &["long", "long.gz", "long.ng", "long.comment.ng", "other"]),
            ("long.comment.ng", &["long", "long.gz", "long.ng", "long.comment.ng", "other"]),
            ("longer.ng", &["longer.ng"]),
            ("small", &["small", "small.gz", "small.ng"]),
            ("small.ng", &["small", "small.gz", "small.ng"]),
            ("small.other.gz", &["small.other.gz"]),
            ("smaller.ng", &["smaller.ng"]),
            ("empty", &["empty"]),
        ] {
            let look = |paths: &[PathBuf], inventory: Option<&Path>, base: Option<&Path>| {
                let mut memory = Memory::open(inventory, base).unwrap();
                memory.look_at(&Files::open(paths, Options::default()), false).unwrap();
                memory
            };
            let path = |name: &str| folder.path().join(name);
            let one = look(&[path(first)], Some(&inventory), None);
            assert_eq!((one.counted.files.len(), one.old.files.len()), (0, 0));
            let measured = one.captures[&0].content.map(|content| content.bytes.is_some());
            let expected = (first != "empty").then_some(first.starts_with("small"));
            assert_eq!(measured, expected, "what is new is not read through beforehand");
            // The reader tells at the end how long the content was.
            let mut reader = Files::open(&[path(first)], Options::default());
            while !matches!(reader.next().unwrap(), crate::capture::Next::End) {}
            one.complete(true, |file| reader.content_length(file)).unwrap();
            for (name, _) in &files {
                let expected = usize::from(known.contains(name));
                let seen = look(&[path(name)], Some(&inventory), None);
                assert_eq!((seen.counted.files.len(), seen.old.files.len()), (expected, expected), "{first} {name}");
                let base = look(&[path(name)], None, Some(&inventory));
                assert_eq!((base.counted.files.len(), base.old.files.len()), (0, expected), "{first} {name}");
                let both = look(&[path(first), path(name)], None, None);
                assert_eq!(both.counted.files.len(), expected, "{first} {name}");
            }
            for end in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(folder.path().join(format!("i.db{end}")));
            }
        }
    }

    #[test]
    fn what_another_run_read_meanwhile_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let inventory = folder.path().join("i.db");
        let paths = ["a.pcap", "b.pcap"].map(|name| folder.path().join(name));
        for path in &paths {
            std::fs::write(path, path.as_os_str().as_encoded_bytes()).unwrap();
        }
        let begin = |paths: &[PathBuf], again: bool| {
            let mut memory = Memory::open(Some(&inventory), None).unwrap();
            memory.look_at(&Files::open(paths, Options::default()), again).unwrap();
            memory
        };
        let a = paths[0].display().to_string();
        let (first, second, part) = (begin(&paths, false), begin(&paths[..1], false), begin(&paths, false));
        assert_eq!(second.complete(true, |_| None).unwrap(), [""; 0]);
        assert_eq!(first.complete(true, |_| None).unwrap(), [a]);
        assert_eq!(part.complete(false, |_| None).unwrap(), [""; 0]);
        // Known from the start, and so not counted; or counted on purpose.
        assert_eq!(begin(&paths, false).complete(true, |_| None).unwrap(), [""; 0]);
        assert_eq!(begin(&paths, true).complete(true, |_| None).unwrap(), [""; 0]);
    }
}
