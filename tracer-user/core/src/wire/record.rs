//! What the two record layouts of bodies have in common: a head, a message body that nobody wants, a tail.
//!
//! The split lets a reader of a stream skip the message body without having it (§1.9): it needs the head, which
//! tells the length of the rest, and the tail.

use super::Malformed;

/// A message record that is read in two parts.
pub(crate) trait Record: Sized {
    /// What the head says about the message.
    type Fixed;

    /// Whether the message's body is messages again, so that it is wanted.
    fn wraps(_fixed: &Self::Fixed) -> bool {
        false
    }

    /// The messages in the body, one after another; `None` where they are not what they should be.
    fn unwrap(&self, _body: &[u8]) -> Option<Vec<Self>> {
        None
    }

    /// Reads the start of a record, of which `bytes` are there so far.
    fn parse_head(bytes: &[u8]) -> Result<Head<Self::Fixed>, Malformed>;

    /// How long the tail really is that starts with `start`, of which the head told the length `told`.
    fn tail_length(_start: &[u8], told: usize) -> usize {
        told
    }

    /// Completes a record with what follows its body. `tail` has the length that the head told; `before` is the record
    /// before it, which may have the same texts.
    fn parse_tail(fixed: Self::Fixed, tail: &[u8], before: Option<&Self>) -> Result<Self, Malformed>;

    /// Reads one whole record: all of `bytes`.
    fn parse_whole(bytes: &[u8]) -> Result<Self, Malformed> {
        let wrong = |what| Malformed {
            what,
            at: bytes.len(),
        };
        match Self::parse_head(bytes)? {
            Head::Record {
                fixed,
                head,
                body,
                tail,
            } => {
                let rest = bytes.get(head as usize..).and_then(|b| b.get(body as usize..));
                match rest {
                    Some(rest) if rest.len() == Self::tail_length(rest, tail as usize) => {
                        Self::parse_tail(fixed, rest, None)
                    }
                    _ => Err(wrong("record's length")),
                }
            }
            Head::More(_) => Err(wrong("record's length")),
            Head::Filler(_) => Err(wrong("record: filler")),
        }
    }
}

/// What the start of a record says.
#[derive(Debug)]
pub(crate) enum Head<F> {
    /// This many bytes are needed to tell.
    More(usize),
    /// A record.
    Record {
        /// What the head says about the message.
        fixed: F,
        /// Bytes of the head.
        head: u32,
        /// Bytes of the message body behind it.
        body: u32,
        /// Bytes behind the body.
        tail: u32,
    },
    /// Padding of this many bytes, with those that told.
    Filler(u32),
}
