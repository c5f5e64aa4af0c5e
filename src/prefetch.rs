//! Asking for memory before it is needed: where the next bytes are known long before they are looked at, the processor should
//! know too.

/// Asks for the first line of memory of `place`.
#[inline(always)]
pub(crate) fn line<T>(place: &T) {
    lines::<T, 1>(place);
}

/// Asks for `LINES` lines of memory at `from`, if there are so many.
#[inline(always)]
pub(crate) fn bytes<const LINES: usize>(bytes: &[u8], from: usize) {
    let (blocks, _) = bytes.get(from..).unwrap_or_default().as_chunks::<LINE>();
    if let Some(place) = blocks.first_chunk::<LINES>() {
        lines::<_, LINES>(place);
    }
}

/// Asks for the line of memory of `place`, which another processor may have, to write there.
#[inline(always)]
#[expect(unsafe_code, reason = "there is no safe name for a prefetch")]
pub(crate) fn to_write<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a prefetch changes nothing that a program could see, and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(std::ptr::from_ref(place).cast::<i8>()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// Bytes of a line of memory.
const LINE: usize = 64;

#[inline(always)]
#[expect(unsafe_code, reason = "there is no safe name for a prefetch")]
fn lines<T, const LINES: usize>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    for number in 0..LINES {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch changes nothing that a program could see, and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast::<i8>().wrapping_add(LINE * number)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
