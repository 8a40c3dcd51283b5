//! Numbers from the front of bytes.

/// The next `N` bytes; `None` where there are fewer, and then nothing is taken.
#[inline]
pub(super) fn array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*taken)
}

/// The next `length` bytes; likewise.
#[inline]
pub(super) fn bytes<'a>(input: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(taken)
}

macro_rules! numbers {
    ($($name:ident: $t:ty),*) => { $(
        /// The next number, big-endian.
        #[inline]
        pub(super) fn $name(input: &mut &[u8]) -> Option<$t> {
            array(input).map(<$t>::from_be_bytes)
        }
    )* };
}
numbers!(u8: u8, u16: u16, u32: u32, i32: i32, i64: i64);
