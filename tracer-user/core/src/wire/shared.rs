//! Bytes that several owners share without copying them: a header and the properties in it.

use std::{fmt, ops::Deref, ops::Range, sync::Arc};

/// A range of shared bytes. One allocation holds the bytes and the count of their owners.
#[derive(Clone, Default)]
pub struct Shared {
    whole: Arc<[u8]>,
    start: usize,
    end: usize,
}

impl Shared {
    /// The bytes of `whole` in `range`; none where it reaches beyond them.
    pub(super) fn part(whole: &Arc<[u8]>, range: Range<usize>) -> Shared {
        if whole.get(range.clone()).is_none() {
            return Shared::default();
        }
        Shared {
            whole: whole.clone(),
            start: range.start,
            end: range.end,
        }
    }
}

impl Deref for Shared {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.whole.get(self.start..self.end).unwrap_or_default()
    }
}

impl<T: Into<Arc<[u8]>>> From<T> for Shared {
    fn from(whole: T) -> Shared {
        let whole = whole.into();
        let end = whole.len();
        Shared { whole, start: 0, end }
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Shared) -> bool {
        **self == **other
    }
}

impl Eq for Shared {}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_share_and_compare_by_their_bytes() {
        let whole: Arc<[u8]> = Arc::from(&b"abcabc"[..]);
        let (first, second) = (Shared::part(&whole, 0..3), Shared::part(&whole, 3..6));
        assert_eq!((first.clone(), &*second), (second.clone(), &b"abc"[..]));
        assert_eq!(Arc::strong_count(&whole), 3);
        assert_eq!(Shared::part(&whole, 3..7), Shared::default());
        assert_eq!(format!("{:?}", Shared::from(&b"a\x01"[..])), r#"b"a\x01""#);
    }
}
