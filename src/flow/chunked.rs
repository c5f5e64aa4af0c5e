//! A list that grows without moving what is in it.

/// Elements of one chunk.
const CHUNK: usize = 16;

/// Elements by number. Growing a plain vector copies it and leaves the smaller ones behind: for hundreds of lists that grow
/// together, as those of the slots do, that is twice the memory.
#[derive(Debug)]
pub(super) struct Chunked<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), len: 0 }
    }
}

impl<T> Chunked<T> {
    /// Elements.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }

    /// Adds an element behind all others.
    pub(super) fn push(&mut self, element: T) {
        self.len += 1;
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(element),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(element);
                self.chunks.push(chunk);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_what_a_vector_does() {
        let mut chunked = Chunked::default();
        let mut plain = Vec::new();
        for number in 0..5 * CHUNK + 3 {
            chunked.push(number);
            plain.push(number);
            assert_eq!(chunked.len(), plain.len());
            if number % 3 == 0 {
                *chunked.get_mut(number / 2).unwrap() += 7;
                plain[number / 2] += 7;
            }
            for at in 0..plain.len() + CHUNK + 1 {
                assert_eq!(chunked.get(at), plain.get(at));
            }
        }
        assert!(chunked.chunks.iter().all(|chunk| chunk.capacity() == CHUNK));
    }
}
