//! Credentials in headers, made unreadable without a change of length.
//!
//! `AccessKey`, `Signature` and `SecurityToken` are fields of a request's header, in JSON (§1.2) or in the binary form
//! (§1.3). A header may be cut into records anywhere, so each direction of a connection has a state. What is masked
//! needs no correct frame around it: a name in quotes and a text behind it, or a name with its length before it and a
//! length behind it.

/// What replaces every byte of a value.
const MASK: u8 = b'*';
/// Fields whose values are masked (§2.1).
const NAMES: [&[u8]; 3] = [b"AccessKey", b"Signature", b"SecurityToken"];
/// Longest name, with what must stand before it.
const WINDOW: usize = 2 + 13;
/// No value is longer; a length beyond it is none.
const LONGEST: u32 = 64 * 1024;

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    /// The bytes just before, at most [`WINDOW`].
    before: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Looking for a name.
    #[default]
    Search,
    /// Behind a name in quotes: its closing quote, a colon, the opening quote of the value.
    Json { quotes: u8 },
    /// In a value in quotes; `escaped`: behind a backslash.
    Text { escaped: bool },
    /// In the four bytes of a length.
    Length { have: u8, length: u32 },
    /// In a value of which so many bytes are left.
    Value { left: u32 },
}

impl Mask {
    /// Masks what must be of the next bytes.
    pub(crate) fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            let seen = *byte;
            self.state = match self.state {
                State::Search => self.search(seen),
                State::Json { quotes } => match seen {
                    b'"' if quotes == 1 => State::Text { escaped: false },
                    b'"' => State::Json { quotes: quotes + 1 },
                    b':' | b' ' | b'\t' | b'\r' | b'\n' => State::Json { quotes },
                    // not a text, or not a name after all
                    _ => State::Search,
                },
                State::Text { escaped: false } if seen == b'"' => State::Search,
                State::Text { escaped } => {
                    // a backslash stays: without it the quote behind it would end the text
                    if seen != b'\\' && !escaped {
                        *byte = MASK;
                    } else if escaped && !matches!(seen, b'"' | b'\\' | b'/' | b'u') {
                        *byte = b'n';
                    }
                    State::Text {
                        escaped: !escaped && seen == b'\\',
                    }
                }
                State::Length { have, length } => {
                    let length = length << 8 | u32::from(seen);
                    match have + 1 {
                        4 if length == 0 || length > LONGEST => State::Search,
                        4 => State::Value { left: length },
                        have => State::Length { have, length },
                    }
                }
                State::Value { left } => {
                    *byte = MASK;
                    match left - 1 {
                        0 => State::Search,
                        left => State::Value { left },
                    }
                }
            };
        }
    }

    /// Bytes went by that nobody has. A value that was under way goes on, should it be a text: rather too much is
    /// masked than too little.
    pub(crate) fn gap(&mut self, length: u64) {
        self.before.clear();
        self.state = match self.state {
            State::Text { .. } => State::Text { escaped: false },
            State::Value { left } if u64::from(left) > length => State::Value {
                left: left - u32::try_from(length).unwrap_or(left),
            },
            _ => State::Search,
        };
    }

    fn search(&mut self, seen: u8) -> State {
        if self.before.len() == WINDOW {
            self.before.remove(0);
        }
        self.before.push(seen);
        let Some(name) = NAMES.iter().find(|name| self.before.ends_with(name)) else {
            return State::Search;
        };
        let rest = self.before.len() - name.len();
        let before = self.before.get(..rest).unwrap_or_default();
        let binary = before.ends_with(&[0, name.len() as u8]);
        let json = before.last() == Some(&b'"');
        self.before.clear();
        match (binary, json) {
            (true, _) => State::Length { have: 0, length: 0 },
            (_, true) => State::Json { quotes: 0 },
            _ => State::Search,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn masked(pieces: &[&[u8]]) -> Vec<u8> {
        let mut mask = Mask::default();
        let mut out = Vec::new();
        for piece in pieces {
            let mut piece = piece.to_vec();
            mask.apply(&mut piece);
            out.extend(piece);
        }
        out
    }

    const JSON: &[u8] =
        br#"{"code":10,"extFields":{"AccessKey":"abc","a":"b","Signature" : "x\"y=","SecurityToken":"","topic":"Signature"}}"#;
    const MASKED: &[u8] =
        br#"{"code":10,"extFields":{"AccessKey":"***","a":"b","Signature" : "*\"**","SecurityToken":"","topic":"Signature"}}"#;
    const BINARY: &[u8] =
        b"..\0\x01a\0\0\0\x01b\0\x09AccessKey\0\0\0\x03key\0\x0dSecurityToken\0\0\0\x01t\0\x01c";
    const BINARY_MASKED: &[u8] =
        b"..\0\x01a\0\0\0\x01b\0\x09AccessKey\0\0\0\x03***\0\x0dSecurityToken\0\0\0\x01*\0\x01c";

    #[test]
    fn values_are_masked_and_nothing_else() {
        for (bytes, expected) in [
            (JSON, MASKED),
            (BINARY, BINARY_MASKED),
            (b"an AccessKey in a text", b"an AccessKey in a text"),
            (br#""AccessKey":5,"a":"b""#, br#""AccessKey":5,"a":"b""#),
        ] {
            assert_eq!(
                masked(&[bytes]).escape_ascii().to_string(),
                expected.escape_ascii().to_string()
            );
        }
    }

    #[test]
    fn a_value_goes_on_behind_a_gap() {
        let mut mask = Mask::default();
        let (mut first, mut last) = (br#""Signature":"ab"#.to_vec(), br#"cd","topic":"t""#.to_vec());
        mask.apply(&mut first);
        mask.gap(7);
        mask.apply(&mut last);
        assert_eq!(first, br#""Signature":"**"#);
        assert_eq!(last, br#"**","topic":"t""#);
    }

    proptest! {
        /// However the bytes are cut.
        #[test]
        fn cuts_change_nothing(at in 0..JSON.len(), other in 0..BINARY.len()) {
            prop_assert_eq!(masked(&[&JSON[..at], &JSON[at..]]), MASKED);
            prop_assert_eq!(masked(&[&BINARY[..other], &BINARY[other..]]), BINARY_MASKED);
        }
    }
}
