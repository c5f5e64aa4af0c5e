//! The inventory of a run of `read`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::capture::{Files, Source as _};
use crate::detect::hosts::backing::Backing;
use crate::inventory::{Baselines, Capture, Gather, Inventory, InventoryError, Store};

/// The inventory that a run writes, and which captures it is about.
pub(crate) struct Memory {
    inventory: Arc<Inventory>,
    captures: Vec<Capture>,
    /// Files that the inventory knows.
    known: HashSet<u32>,
    /// Files whose handshakes are in the baselines.
    old: HashSet<u32>,
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
        Ok(Self { inventory: Arc::new(opened), captures: Vec::new(), known: HashSet::new(), old: HashSet::new() })
    }

    /// Looks which of the files the inventory knows.
    pub(crate) fn look_at(&mut self, files: &Files, again: bool) -> Result<(), InventoryError> {
        let memory = self;
        for file in 0.. {
            let Some(path) = files.file_path(file) else { break };
            // What cannot be read, or only once, is new; the reader tells of problems.
            let Some(capture) = regular(path).and_then(|path| Capture::of(&path).ok()) else { continue };
            let known = memory.inventory.store().has_capture(&capture.digest)?;
            let twice = memory.captures.iter().any(|other| other.digest == capture.digest);
            if (known || twice) && !again {
                memory.known.insert(file);
            }
            if (twice || memory.inventory.has_capture(&capture.digest)?) && !again {
                memory.old.insert(file);
            }
            memory.captures.push(capture);
        }
        Ok(())
    }

    /// The sink of the run.
    pub(crate) fn sink(&self, batch: u32) -> Gather {
        let batch = usize::try_from(batch).unwrap_or(crate::inventory::BATCH_HANDSHAKES);
        Gather::new(Arc::clone(&self.inventory), batch).without_files(self.known.clone())
    }

    /// The baselines of the run.
    pub(crate) fn baselines(&self) -> Arc<dyn Backing> {
        Arc::new(Baselines::new(Arc::clone(&self.inventory), self.old.clone()))
    }

    /// The run is over; `whole`: the captures were read to their end, all of them.
    pub(crate) fn complete(self, whole: bool) -> Result<(), InventoryError> {
        for capture in self.captures.into_iter().filter(|_| whole) {
            self.inventory.put_capture(capture)?;
        }
        self.inventory.commit()
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
