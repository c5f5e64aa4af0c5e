//! IEEE 802.11 data frames, plain or behind a radiotap header.

use super::walk::{Next, Stop, Walk};

/// Whether the radio put padding between header and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Padding {
    /// The body follows at once.
    None,
    /// The body begins at a multiple of four bytes.
    FourBytes,
}

/// A radiotap header (radiotap.org); only its length and the padding flag matter here.
pub(super) fn radiotap(walk: &mut Walk<'_>) -> Result<Next, Stop> {
    let whole = walk.data;
    let [version, _, l0, l1, ..] = *walk.take::<8>()?;
    if version != 0 {
        return Err(Stop::Malformed);
    }
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    walk.skip(length.checked_sub(8).ok_or(Stop::Malformed)?)?;
    let padding =
        if radiotap_flags(whole).is_some_and(|flags| flags & 0x20 != 0) { Padding::FourBytes } else { Padding::None };
    frame(walk, padding)
}

/// The flags field, which follows the presence words and a timestamp if there is one.
fn radiotap_flags(header: &[u8]) -> Option<u8> {
    let mut words =
        header.get(4..)?.chunks_exact(4).map(|word| word.first_chunk().map_or(0, |b| u32::from_le_bytes(*b)));
    let present = words.next()?;
    let mut at = 8_usize;
    let mut word = present;
    while word & 1 << 31 != 0 {
        word = words.next()?;
        at += 4;
    }
    if present & 0b10 == 0 {
        return None;
    }
    if present & 1 != 0 {
        at = at.next_multiple_of(8) + 8;
    }
    header.get(at).copied()
}

/// A MAC frame (IEEE 802.11-2020 section 9.3.2): unencrypted data with its LLC header.
pub(super) fn frame(walk: &mut Walk<'_>, padding: Padding) -> Result<Next, Stop> {
    let [control, flags] = *walk.take::<2>()?;
    let data = control & 0x0c == 0x08 && control & 0x03 == 0;
    let without_body = control & 0x40 != 0;
    let protected = flags & 0x40 != 0;
    if !data || without_body || protected {
        return Err(Stop::Other);
    }
    let [.., sequence, _] = *walk.take::<22>()?;
    let mut length = 24_usize;
    if sequence & 0x0f != 0 {
        // A later fragment of a frame: its beginning was elsewhere.
        return Err(Stop::Other);
    }
    if flags & 0x03 == 0x03 {
        walk.skip(6)?;
        length += 6;
    }
    let mut aggregated = false;
    if control & 0x80 != 0 {
        let [quality, _] = *walk.take::<2>()?;
        length += 2;
        aggregated = quality & 0x80 != 0;
        if flags & 0x80 != 0 {
            walk.skip(4)?;
            length += 4;
        }
    }
    if padding == Padding::FourBytes {
        walk.skip(length.next_multiple_of(4) - length)?;
    }
    if aggregated {
        // Destination, source and length of the first of several frames in one (section 9.3.2.2).
        let [.., l0, l1] = *walk.take::<14>()?;
        walk.end_after(usize::from(u16::from_be_bytes([l0, l1])));
        walk.bounded = false;
    }
    Ok(Next::Llc)
}
