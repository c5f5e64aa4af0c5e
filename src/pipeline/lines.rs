//! Lines that were written, on their way back to the workers: rendering into one again spares an allocation each.

use std::sync::{Mutex, PoisonError};

/// Most lines that wait to be used again: more than come in a round.
const LINES: usize = 256;

/// Longer ones are not kept: a few strange handshakes must not hold memory for good.
const BYTES: usize = 8 << 10;

/// Emptied lines; the workers take them, the correlator gives them. Which allocation a line lies in never shows.
#[derive(Debug, Default)]
pub struct SpentLines(Mutex<Vec<Vec<u8>>>);

impl SpentLines {
    /// Gives back what is in `lines`.
    pub fn give(&self, lines: &mut Vec<Vec<u8>>) {
        if lines.is_empty() {
            return;
        }
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.append(lines);
        waiting.truncate(LINES);
    }

    /// All lines that wait.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Puts a line that was written to `lines`, if it is worth keeping.
pub fn keep(lines: &mut Vec<Vec<u8>>, mut line: Vec<u8>) {
    if line.capacity() <= BYTES && lines.len() < LINES {
        line.clear();
        lines.push(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_empty_and_bounded() {
        let spent = SpentLines::default();
        let mut lines = Vec::new();
        keep(&mut lines, vec![b'x'; BYTES + 1]);
        assert!(lines.is_empty());
        for _ in 0..3 {
            for _ in 0..LINES - 1 {
                keep(&mut lines, b"line\n".to_vec());
            }
            spent.give(&mut lines);
            assert!(lines.is_empty());
        }
        for _ in 0..2 * LINES {
            keep(&mut lines, b"line\n".to_vec());
        }
        assert_eq!(lines.len(), LINES);
        let taken = spent.take();
        assert_eq!(taken.len(), LINES);
        assert!(taken.iter().all(|line| line.is_empty() && line.capacity() >= 5));
        assert!(spent.take().is_empty());
    }
}
