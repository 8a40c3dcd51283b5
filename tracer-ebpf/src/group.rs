//! Looks in a send's header for the producer group of clients' own message trace (§8.1), whose body is the one kind of
//! message body that user space reads.
//!
//! The group is where each client and codec puts it, so its field is searched for byte by byte: the end of the field's
//! name, and the name that all clients give to the group. Within the text of another field a quote is escaped, so no
//! property looks like the field.
//!
//! ```text
//! JSON    "a":"_INNER_TRAC…      …Group":"_INNER_TRAC…
//! binary  a ‖ length u32 ‖ _INNER_TRAC…      …p ‖ length u32 ‖ _INNER_TRAC…
//! ```

/// Bytes of a header that are searched. The group stands before the properties or behind them.
pub(crate) const SEARCH_BYTES: u64 = 4 * 1024;

const JSON_SHORT: u64 = u64::from_be_bytes(*b"\"a\":\"_IN");
const JSON_LONG: u64 = u64::from_be_bytes(*b"up\":\"_IN");
const BINARY: u64 = u64::from_be_bytes(*b"\0\0\0\0\0_IN");
/// All but the name's last letter and the length's last byte.
const BINARY_MASK: u64 = 0x00ff_ffff_00ff_ffff;
const REST: u64 = u64::from_be_bytes(*b"NER_TRAC");

/// The words of eight bytes in the name. One of them stands at a multiple of eight, wherever the name does.
const PIECES: [u64; 8] = pieces(b"_INNER_TRACE_PR");

const fn pieces(name: &[u8; 15]) -> [u64; 8] {
    let mut pieces = [0; 8];
    let mut i = 0;
    while i < 64 {
        let piece: u64 = pieces[i / 8];
        // as the machine reads it
        pieces[i / 8] = if cfg!(target_endian = "big") {
            piece << 8 | name[i / 8 + i % 8] as u64
        } else {
            piece >> 8 | (name[i / 8 + i % 8] as u64) << 56
        };
        i += 1;
    }
    pieces
}

/// A word of eight bytes at a multiple of eight may be part of the name: then [`Search`] tells. Where no word is, the name is
/// nowhere. Looking at eight bytes at a time takes an eighth of looking at each.
#[inline(always)]
pub(crate) fn may_be_named(word: u64) -> bool {
    let mut found = false;
    let mut i = 0;
    while i < PIECES.len() {
        found |= word == PIECES[i];
        i += 1;
    }
    found
}

/// The search. All zero: at the header's first byte.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Search {
    /// The last eight bytes.
    last: u64,
    /// Bytes until the rest of the name must have passed; 0: its start was not found.
    until: u64,
}

impl Search {
    pub(crate) const START: Search = Search { last: 0, until: 0 };

    /// Takes in the next byte; true where the group has passed.
    #[inline(always)]
    pub(crate) fn push(&mut self, byte: u8) -> bool {
        self.last = self.last << 8 | u64::from(byte);
        let last = self.last;
        if self.until != 0 {
            self.until -= 1;
            if self.until == 0 && last == REST {
                return true;
            }
        }
        let name = (last >> 56) as u8;
        let binary = last & BINARY_MASK == BINARY && (name == b'a' || name == b'p');
        if last == JSON_SHORT || last == JSON_LONG || binary {
            self.until = 8;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{Search, may_be_named};

    fn found(header: &[u8]) -> bool {
        let mut search = Search::START;
        header.iter().any(|byte| search.push(*byte))
    }

    #[test]
    fn the_field_in_every_form() {
        for header in [
            &br#"{"code":310,"extFields":{"a":"_INNER_TRACE_PRODUCER-cg-CONSUME-1","b":"RMQ_SYS_TRACE_TOPIC"}}"#[..],
            br#"{"code":10,"extFields":{"batch":"false","producerGroup":"_INNER_TRACE_PRODUCER","topic":"T"}}"#,
            b"\x01\x36\0\0\x01a\0\0\0\x15_INNER_TRACE_PRODUCER",
            b"\0\x0a\0\0\x0dproducerGroup\0\0\0\x15_INNER_TRACE_PRODUCER",
        ] {
            assert!(found(header), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn a_word_of_the_name_wherever_it_stands() {
        for at in 0..16 {
            let mut header = vec![b'x'; at];
            header.extend(b"_INNER_TRACE_PRODUCER\"");
            let words = header
                .chunks_exact(8)
                .map(|word| word.try_into().map(u64::from_ne_bytes));
            assert_eq!(
                words.flatten().filter(|word| may_be_named(*word)).count(),
                1,
                "{at}"
            );
        }
        assert!(!may_be_named(u64::from_ne_bytes(*b"INNER_TX")));
    }

    #[test]
    fn nothing_else() {
        for header in [
            &br#"{"code":310,"extFields":{"a":"pg","b":"RMQ_SYS_TRACE_TOPIC"}}"#[..],
            br#"{"code":310,"extFields":{"a":"_INNER","b":"NER_TRACE_PRODUCER"}}"#,
            br#"{"code":310,"extFields":{"a":"pg","b":"_INNER_TRACE_PRODUCER"}}"#,
            br#"{"code":310,"extFields":{"a":"pg","i":"k\u0001\"a\":\"_INNER_TRACE_PRODUCER\u0002"}}"#,
            br#"{"code":310,"extFields":{"a":"pg","i":"producerGroup\":\"_INNER_TRACE_PRODUCER"}}"#,
            b"\x01\x36\0\0\x01b\0\0\0\x15_INNER_TRACE_PRODUCER",
            b"",
        ] {
            assert!(!found(header), "{}", header.escape_ascii());
        }
    }
}
