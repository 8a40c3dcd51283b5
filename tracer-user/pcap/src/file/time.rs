//! Time stamps of pcapng files.

/// How an interface's time stamps are to be read (`if_tsresol`, `if_tsoffset`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Resolution {
    /// Units in a second.
    units: u128,
    /// Seconds to add.
    offset: i64,
}

impl Resolution {
    /// `resolution`: a negative power of ten, or of two where the highest bit is set. Finer than what 64 bits can
    /// count makes no sense.
    pub(super) fn new(resolution: u8, offset: i64) -> Result<Resolution, String> {
        let exponent = u32::from(resolution & 0x7f);
        let units = match resolution & 0x80 {
            0 if exponent <= 19 => 10_u128.pow(exponent),
            0x80 if exponent <= 63 => 1 << exponent,
            _ => return Err(format!("an interface with time resolution {resolution:#04x}")),
        };
        Ok(Resolution { units, offset })
    }

    /// Nanoseconds since 1970.
    pub(super) fn nanoseconds(self, stamp: u64) -> u64 {
        let ns = u128::from(stamp) * 1_000_000_000 / self.units;
        let ns = i128::try_from(ns).unwrap_or(i128::MAX) + i128::from(self.offset) * 1_000_000_000;
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resolution, offset, stamp, nanoseconds.
    #[test]
    fn resolutions() {
        for (resolution, offset, stamp, expected) in [
            (6, 0, 1_700_000_000_123_456, 1_700_000_000_123_456_000),
            (9, 0, 1_700_000_000_123_456_789, 1_700_000_000_123_456_789),
            (3, 0, 1_500, 1_500_000_000),
            (0, 10, 5, 15_000_000_000),
            (9, -1, 1_000_000_001, 1),
            (9, -10, 0, 0),
            (0x80 | 10, 0, 1_536, 1_500_000_000),
            (0x80, 0, 2, 2_000_000_000),
            (12, 0, 1_999, 1),
        ] {
            let resolution = Resolution::new(resolution, offset).unwrap();
            assert_eq!(resolution.nanoseconds(stamp), expected, "{resolution:?} {stamp}");
        }
        assert!(Resolution::new(20, 0).is_err());
        assert!(Resolution::new(0x80 | 64, 0).is_err());
    }
}
