//! From the kernel's clock to the wall's.
//!
//! Records carry `CLOCK_BOOTTIME`, spans need `CLOCK_REALTIME`. Both are read together; the pair is renewed each
//! second, so that a corrected or stepped wall clock is followed. All times of one span go through the same
//! pair: a step of the wall clock never stretches a span.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use tracer_core::model::Timestamp;

/// One moment on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Anchor {
    boot_ns: u64,
    wall_ns: u64,
}

impl Anchor {
    /// For moments that are wall-clock times already.
    pub(crate) const WALL: Anchor = Anchor {
        boot_ns: 0,
        wall_ns: 0,
    };
}

/// How often the clocks are read; the tightest reading wins.
const READINGS: usize = 5;

impl Anchor {
    /// Reads both clocks: the wall's between two readings of the kernel's, so that an interruption shows.
    pub(crate) fn read() -> Anchor {
        let reading = |_| {
            let (before, wall, after) = (
                now(ClockId::Boottime),
                now(ClockId::Realtime),
                now(ClockId::Boottime),
            );
            let width = after.saturating_sub(before);
            (
                width,
                Anchor {
                    boot_ns: before + width / 2,
                    wall_ns: wall,
                },
            )
        };
        let readings = (0..READINGS).map(reading);
        readings.min_by_key(|(width, _)| *width).map_or(
            Anchor {
                boot_ns: 0,
                wall_ns: 0,
            },
            |(_, anchor)| anchor,
        )
    }

    /// Wall-clock time minus the kernel's, in nanoseconds.
    pub(crate) fn offset_ns(&self) -> i64 {
        let offset = i128::from(self.wall_ns) - i128::from(self.boot_ns);
        i64::try_from(offset).unwrap_or_default()
    }

    /// A moment as wall-clock time.
    pub(crate) fn wall(&self, at: Timestamp) -> Wall {
        let ns = i128::from(self.wall_ns) + i128::from(at.0) - i128::from(self.boot_ns);
        Wall(u64::try_from(ns.max(0)).unwrap_or(u64::MAX))
    }
}

/// Wall-clock time, nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Wall(pub(crate) u64);

impl From<Wall> for SystemTime {
    fn from(wall: Wall) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(wall.0)
    }
}

/// The kernel's clock now.
pub(crate) fn boot_now() -> Timestamp {
    Timestamp(now(ClockId::Boottime))
}

fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    seconds
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_distance() {
        let anchor = Anchor {
            boot_ns: 1_000,
            wall_ns: 5_000_000,
        };
        assert_eq!(anchor.wall(Timestamp(1_000)), Wall(5_000_000));
        assert_eq!(anchor.offset_ns(), 4_999_000);
        assert_eq!(anchor.wall(Timestamp(900)), Wall(4_999_900));
        assert_eq!(anchor.wall(Timestamp(3_000)), Wall(5_002_000));
        // before 1970 there is nothing
        assert_eq!(
            Anchor {
                boot_ns: 10,
                wall_ns: 5
            }
            .wall(Timestamp(0)),
            Wall(0)
        );
    }

    #[test]
    fn an_anchor_agrees_with_the_system() {
        let before = SystemTime::now();
        let boot = boot_now();
        let after = SystemTime::now();
        let wall = SystemTime::from(Anchor::read().wall(boot));
        // two readings of the wall clock around one of the other; a slewing clock moves less than this
        let slack = Duration::from_millis(1);
        assert!(
            before - slack <= wall && wall <= after + slack,
            "{before:?} {wall:?} {after:?}"
        );
    }
}
