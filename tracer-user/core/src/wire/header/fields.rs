//! The `extFields` of a header, found by name.

use super::text::Text;

/// Fields that need no allocation: what a send header of any known client has.
const INLINE: usize = 18;
/// Most `extFields` of one header.
const MAX: usize = 256;

type Field = (Text, Text);

/// Names and values, which are ranges of the header's bytes, in the order of the wire.
#[derive(Clone, PartialEq, Default)]
pub(super) struct Fields {
    first: [Field; INLINE],
    /// Those behind, of a header that has more.
    more: Vec<Field>,
    count: usize,
    letters: Letters,
}

/// Where the last field of each name stands that is a lower-case letter, as all names of a V2 send are: one more than
/// its index.
#[derive(Clone, Copy, PartialEq, Default)]
struct Letters([u16; 26]);

impl Letters {
    #[inline]
    fn place(&mut self, letter: u8) -> Option<&mut u16> {
        self.0.get_mut(usize::from(letter.wrapping_sub(b'a')))
    }
}

impl Fields {
    /// Whether there is no room for another one.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.count >= MAX
    }

    /// Adds a field of the header of these bytes.
    #[inline(always)]
    pub(super) fn push(&mut self, raw: &[u8], key: Text, value: Text) {
        match self.first.get_mut(self.count) {
            Some(slot) => *slot = (key, value),
            None => self.more.push((key, value)),
        }
        self.count += 1;
        if let Some(place) = key.only_byte(raw).and_then(|letter| self.letters.place(letter)) {
            *place = self.count as u16;
        }
    }

    /// The value of the last field of this name.
    pub(super) fn find(&self, raw: &[u8], name: &str) -> Option<Text> {
        if let [letter @ b'a'..=b'z'] = name.as_bytes() {
            let place = *self.letters.0.get(usize::from(letter.wrapping_sub(b'a')))?;
            return Some(self.get(usize::from(place).checked_sub(1)?)?.1);
        }
        let mut named = self.iter().rev().filter(|(key, _)| key.is(raw, name));
        named.next().map(|(_, value)| *value)
    }

    #[inline]
    fn get(&self, index: usize) -> Option<&Field> {
        match index.checked_sub(INLINE) {
            None => self.first.get(index),
            Some(index) => self.more.get(index),
        }
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Field> {
        let first = self.first.get(..self.count).unwrap_or(&self.first);
        first.iter().chain(&self.more)
    }

    /// Resolves the escapes in values where they stand.
    pub(super) fn unescape(&mut self, raw: &mut [u8]) {
        let first = self.first.iter_mut().take(self.count);
        for (_, value) in first.chain(&mut self.more) {
            value.unescape_in(raw);
        }
    }
}
