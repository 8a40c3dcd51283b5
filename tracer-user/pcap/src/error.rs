//! What can be wrong with a capture file.

use std::io;

/// Why a file, or the rest of it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file cannot be opened or read.
    #[error("{name}: cannot be read: {cause}")]
    Read {
        /// The file.
        name: String,
        /// Why. Not the error's source: the message has it.
        cause: io::Error,
    },
    /// The file is something else.
    #[error(
        "{name}: not a capture file: it starts with {start}, where pcap, pcapng or either of them in gzip is expected"
    )]
    NotACapture {
        /// The file.
        name: String,
        /// Its first bytes, as text.
        start: String,
    },
    /// The file holds something that cannot be read on from.
    #[error("{name}: {damage}")]
    Damaged {
        /// The file.
        name: String,
        /// What and where.
        damage: Damage,
    },
}

impl FileError {
    /// Something was read from the file before this.
    pub fn is_damage(&self) -> bool {
        matches!(self, FileError::Damaged { .. })
    }
}

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
#[error("damaged at byte {offset}{}: {what}; what comes before it was read", if *.packed { " of what gzip holds" } else { "" })]
pub struct Damage {
    /// Offset in the file, or in what a gzip file holds.
    pub offset: u64,
    /// The file is a gzip file.
    pub packed: bool,
    /// What is wrong.
    pub what: String,
}
