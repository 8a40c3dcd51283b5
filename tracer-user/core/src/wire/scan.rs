//! Finding bytes, eight or sixteen at a time: most of a header and of properties is text between two marks.

const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// Where the first `a` or `b` stands from `from` on; the end of the input where there is none.
#[inline(always)]
pub(super) fn find(input: &[u8], from: usize, a: u8, b: u8) -> usize {
    let mut at = from;
    // most texts are short
    if let Some(word) = word_at(input, at) {
        if let Some(found) = in_word(word, a, b) {
            return at + found;
        }
        at += 8;
    }
    while let Some(block) = input.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        // all sixteen are looked at, so that the compiler compares them at once
        if block
            .iter()
            .fold(false, |found, byte| found | (*byte == a) | (*byte == b))
        {
            break;
        }
        at += 16;
    }
    while let Some(word) = word_at(input, at) {
        if let Some(found) = in_word(word, a, b) {
            return at + found;
        }
        at += 8;
    }
    let tail = input.get(at..).unwrap_or_default();
    let found = tail.iter().position(|byte| *byte == a || *byte == b);
    at + found.unwrap_or(tail.len())
}

#[inline(always)]
fn word_at(input: &[u8], at: usize) -> Option<u64> {
    let bytes = input.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// Which byte of the word is the first that is `a` or `b`.
#[inline(always)]
fn in_word(word: u64, a: u8, b: u8) -> Option<usize> {
    // the top bit of each zero byte, and perhaps of bytes behind the first of them
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let found = zeros(word ^ (u64::from(a) * ONES)) | zeros(word ^ (u64::from(b) * ONES));
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_every_place() {
        for length in 0..70 {
            let mut bytes = vec![b'x'; length];
            assert_eq!(find(&bytes, 0, 1, 2), length);
            for at in 0..length {
                for mark in [1, 2] {
                    bytes[at] = mark;
                    assert_eq!(find(&bytes, 0, 1, 2), at, "{mark} at {at} of {length}");
                    assert_eq!(find(&bytes, at / 2, 1, 2), at);
                    assert_eq!(find(&bytes, at + 1, 1, 2), length);
                    // what stands behind the first does not matter
                    bytes[length - 1] = 1;
                    assert_eq!(find(&bytes, 0, 1, 2), at);
                    bytes.fill(b'x');
                }
            }
        }
        // neighbours of the marks, which a borrow could make look like them
        assert_eq!(find(&[3, 0, 3, 0x81, 0x82, 0, 3, 3, 2], 0, 1, 2), 8);
        assert_eq!(find(b"", 1, 1, 2), 1);
    }
}
