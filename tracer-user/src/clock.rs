//! From the kernel's clock to the wall's.
//!
//! Records carry `CLOCK_BOOTTIME`, spans need `CLOCK_REALTIME`. Both are read together; the pair is renewed each
//! second, so that a corrected wall clock is followed, and at once where the clock is set. All times of one span go through
//! the same pair, that of its end: a step of the wall clock never stretches a span, and what ended before it has the times
//! from before it.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, SystemTime},
};

use rustix::{
    io::Errno,
    time::{
        ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
        timerfd_create, timerfd_settime,
    },
};
use tokio::io::{Interest, unix::AsyncFd};
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

/// Which reading of the clocks holds when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    now: Anchor,
    /// Until when another one held, and which: before the last step of the wall clock.
    before: Option<(Timestamp, Anchor)>,
}

/// Two readings a second apart differ by less where the wall clock is only slewed (half a millisecond a second at most).
const STEP: Duration = Duration::from_millis(10);

impl Clock {
    /// Has only this reading.
    pub(crate) fn new(anchor: Anchor) -> Clock {
        Clock {
            now: anchor,
            before: None,
        }
    }

    /// Takes a new reading. By how many nanoseconds the wall clock was set, where it was.
    pub(crate) fn renew(&mut self, anchor: Anchor) -> Option<i64> {
        let old = std::mem::replace(&mut self.now, anchor);
        let step = anchor.offset_ns().saturating_sub(old.offset_ns());
        if u128::from(step.unsigned_abs()) < STEP.as_nanos() {
            return None;
        }
        self.before = Some((Timestamp(anchor.boot_ns), old));
        Some(step)
    }

    /// The last reading.
    pub(crate) fn now(&self) -> &Anchor {
        &self.now
    }

    /// The reading for what ended at this moment.
    pub(crate) fn at(&self, end: Timestamp) -> &Anchor {
        match &self.before {
            Some((until, before)) if end < *until => before,
            _ => &self.now,
        }
    }
}

/// Tells when the wall clock is set. Where the kernel does not let it, it tells nothing.
#[derive(Debug)]
pub(crate) struct Steps(Option<AsyncFd<OwnedFd>>);

impl Steps {
    /// From now on. Must be called within tokio's runtime.
    pub(crate) fn watch() -> Steps {
        Steps(
            timer()
                .inspect_err(
                    |error| tracing::debug!(%error, "steps of the wall clock are noticed within a second"),
                )
                .ok(),
        )
    }

    /// Waits for the next time.
    pub(crate) async fn next(&self) {
        let Some(timer) = &self.0 else {
            return std::future::pending().await;
        };
        loop {
            let Ok(mut ready) = timer.readable().await else {
                return std::future::pending().await;
            };
            let read = ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut [0; 8])?));
            // a timer that is cancelled is readable once
            if matches!(read, Ok(Err(error)) if Errno::from_io_error(&error) == Some(Errno::CANCELED)) {
                return;
            }
        }
    }
}

/// A timer that never ends, and is cancelled when the wall clock is set.
fn timer() -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(
        TimerfdClockId::Realtime,
        TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
    )?;
    let never = Itimerspec {
        it_interval: Timespec::default(),
        it_value: Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        },
    };
    timerfd_settime(
        &timer,
        TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET,
        &never,
    )?;
    // SAFETY: the `AsyncFd` owns the timer and with it the descriptor: always the same one, open as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?)
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
    fn what_ended_before_a_step_keeps_its_times() {
        let anchor = |boot_ns, wall_ns| Anchor { boot_ns, wall_ns };
        let (second, day) = (1_000_000_000, 86_400_000_000_000);
        let mut clock = Clock::new(anchor(0, day));
        // slewed by half a millisecond
        assert_eq!(clock.renew(anchor(second, day + second + 500_000)), None);
        assert_eq!(clock.at(Timestamp(second - 1)).wall_ns, day + second + 500_000);
        // set back by an hour
        let hour = 3_600 * second;
        let step = clock.renew(anchor(2 * second, day - hour));
        assert_eq!(step, Some(-i64::try_from(hour + 2 * second + 500_000).unwrap()));
        let wall = |ns| clock.at(Timestamp(ns)).wall(Timestamp(ns)).0;
        assert_eq!(wall(2 * second - 1), day + 2 * second + 500_000 - 1);
        assert_eq!(wall(2 * second), day - hour);
    }

    #[tokio::test]
    async fn nobody_sets_the_clock() {
        let steps = Steps::watch();
        assert!(steps.0.is_some());
        let waited = tokio::time::timeout(Duration::from_millis(10), steps.next()).await;
        assert!(waited.is_err());
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
