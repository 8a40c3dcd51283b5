//! The search for the next separator: most of a header and of properties is text between two marks.

/// Bytes of a block: as many as a word has bits.
const BLOCK: usize = 64;

/// Where the bytes `A` and `B` stand in an input, neither of them 0. They are looked for a block at a time, all
/// bytes of which are compared at once, so that the many short texts of a block cost one comparison together.
///
/// The input is given each time. What is behind `from` must not have changed since the last time; what is before it
/// may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks<const A: u8, const B: u8> {
    /// The number of the block that was compared last.
    block: usize,
    /// A bit for each byte of that block that is a mark; the lowest is the first byte's.
    found: u64,
}

impl<const A: u8, const B: u8> Marks<A, B> {
    /// Nothing has been compared.
    pub(super) const fn new() -> Marks<A, B> {
        Marks {
            block: usize::MAX,
            found: 0,
        }
    }

    /// The first mark from `from` on; the length of the input where there is none.
    #[inline(always)]
    pub(super) fn next(&mut self, input: &[u8], from: usize) -> usize {
        let block = from / BLOCK;
        if block != self.block {
            *self = Marks {
                block,
                found: found::<A, B>(input, block),
            };
        }
        let ahead = self.found >> (from % BLOCK);
        if ahead != 0 {
            return from + ahead.trailing_zeros() as usize;
        }
        let later;
        (*self, later) = self.later(input);
        later
    }

    /// The first mark behind the block.
    #[inline(never)]
    fn later(mut self, input: &[u8]) -> (Marks<A, B>, usize) {
        loop {
            self.block += 1;
            self.found = found::<A, B>(input, self.block);
            let start = self.block * BLOCK;
            if self.found != 0 {
                return (self, start + self.found.trailing_zeros() as usize);
            }
            if start >= input.len() {
                return (self, input.len());
            }
        }
    }
}

/// The marks of a block.
#[inline(never)]
fn found<const A: u8, const B: u8>(input: &[u8], block: usize) -> u64 {
    let rest = input.get(block * BLOCK..).unwrap_or_default();
    if let Some(block) = rest.first_chunk() {
        return of_block::<A, B>(block);
    }
    // the last one is shorter: it is compared with what is before it, or with nothing
    if rest.is_empty() {
        return 0;
    }
    if let Some(block) = input.last_chunk() {
        return of_block::<A, B>(block) >> (BLOCK - rest.len());
    }
    let mut block = [0; BLOCK];
    if let Some(start) = block.get_mut(..rest.len()) {
        start.copy_from_slice(rest);
    }
    of_block::<A, B>(&block)
}

#[inline(always)]
fn of_block<const A: u8, const B: u8>(block: &[u8; BLOCK]) -> u64 {
    /// Moves the lowest bit of each byte into the highest byte, in the same order.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let marks = block.map(|byte| u8::from((byte == A) | (byte == B)));
    let (words, _) = marks.as_chunks::<8>();
    words.iter().rev().fold(0, |bits, word| {
        bits << 8 | u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(input: &[u8], from: usize) -> usize {
        Marks::<1, 2>::new().next(input, from)
    }

    #[test]
    fn at_every_place() {
        for length in 0..200 {
            let mut bytes = vec![b'x'; length];
            assert_eq!(next(&bytes, 0), length);
            assert_eq!(next(&bytes, length), length);
            for at in 0..length {
                for mark in [1, 2] {
                    bytes[at] = mark;
                    assert_eq!(next(&bytes, 0), at, "{mark} at {at} of {length}");
                    assert_eq!(next(&bytes, at), at);
                    assert_eq!(next(&bytes, at + 1), length);
                    // what stands behind the first does not matter
                    bytes[length - 1] = 1;
                    assert_eq!(next(&bytes, 0), at);
                    bytes.fill(b'x');
                }
            }
        }
    }

    #[test]
    fn one_after_another_and_again() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| (n * n % 251) as u8).collect();
        let is_mark = |at: &usize| matches!(bytes[*at], 1 | 2);
        let mut marks = Marks::<1, 2>::new();
        for from in (0..=bytes.len()).chain((0..=bytes.len()).rev()) {
            let expected = (from..bytes.len()).find(is_mark).unwrap_or(bytes.len());
            assert_eq!(marks.next(&bytes, from), expected, "{from}");
        }
    }

    #[test]
    fn no_other_byte_is_a_mark() {
        for byte in (0..=u8::MAX).filter(|byte| !matches!(byte, b'"' | b'\\')) {
            assert_eq!(
                Marks::<b'"', b'\\'>::new().next(&[byte; BLOCK], 0),
                BLOCK,
                "{byte}"
            );
        }
    }
}
