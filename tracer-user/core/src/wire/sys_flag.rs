//! The bits of `sysFlag` in send headers and stored messages (§4.2).

/// A message's `sysFlag`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SysFlag(pub i32);

/// Where a message stands in a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transaction {
    /// It is in none.
    None,
    /// A half message: not yet visible to consumers.
    Prepared,
    /// Committed.
    Commit,
    /// Rolled back.
    Rollback,
}

/// How a body is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Compression {
    /// zlib; also what clients mean that set no type.
    Zlib,
    /// LZ4 frame format.
    Lz4,
    /// Zstandard.
    Zstd,
    /// A type that the protocol does not define.
    Unknown(u8),
}

impl SysFlag {
    /// How the body is compressed; `None` where it is not.
    pub fn compression(self) -> Option<Compression> {
        let kind = match self.0 >> 8 & 7 {
            0 | 3 => Compression::Zlib,
            1 => Compression::Lz4,
            2 => Compression::Zstd,
            other => Compression::Unknown(other as u8),
        };
        self.has(0x001).then_some(kind)
    }

    /// The transaction bits.
    pub fn transaction(self) -> Transaction {
        match self.0 & 0x00c {
            0x004 => Transaction::Prepared,
            0x008 => Transaction::Commit,
            0x00c => Transaction::Rollback,
            _ => Transaction::None,
        }
    }

    /// The message has several tags.
    pub fn multi_tags(self) -> bool {
        self.has(0x002)
    }

    /// The body is messages (§4.5), which a client takes for messages of their own.
    pub fn wraps_messages(self) -> bool {
        self.has(0x040) && self.has(0x080)
    }

    /// `bornHost` is an IPv6 address.
    pub fn born_host_v6(self) -> bool {
        self.has(0x010)
    }

    /// `storeHost` is an IPv6 address.
    pub fn store_host_v6(self) -> bool {
        self.has(0x020)
    }

    /// The body is to be unwrapped (inner batch).
    pub fn needs_unwrap(self) -> bool {
        self.has(0x040)
    }

    /// The body is a concatenation of batch records (§4.5); the n-th stands at the message's queue offset + n.
    pub fn inner_batch(self) -> bool {
        self.has(0x080)
    }

    fn has(self, bit: i32) -> bool {
        self.0 & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits() {
        for (flag, compression) in [
            (0x000, None),
            (0x300, None),
            (0x001, Some(Compression::Zlib)),
            (0x101, Some(Compression::Lz4)),
            (0x201, Some(Compression::Zstd)),
            (0x331, Some(Compression::Zlib)),
            (0x701, Some(Compression::Unknown(7))),
        ] {
            assert_eq!(SysFlag(flag).compression(), compression, "{flag:#x}");
        }
        for (flag, transaction) in [
            (0x0, Transaction::None),
            (0x4, Transaction::Prepared),
            (0x8, Transaction::Commit),
            (0xc, Transaction::Rollback),
        ] {
            assert_eq!(SysFlag(flag | !0xc).transaction(), transaction, "{flag:#x}");
        }
        let all = [
            SysFlag::multi_tags,
            SysFlag::born_host_v6,
            SysFlag::store_host_v6,
            SysFlag::needs_unwrap,
            SysFlag::inner_batch,
        ];
        let set = |flag| all.map(|bit| bit(SysFlag(flag)));
        assert_eq!(set(0x002), [true, false, false, false, false]);
        assert_eq!(set(0x010), [false, true, false, false, false]);
        assert_eq!(set(0x020), [false, false, true, false, false]);
        assert_eq!(set(0x040), [false, false, false, true, false]);
        assert_eq!(set(0x080), [false, false, false, false, true]);
    }
}
