//! What the kernel side costs whoever makes system calls: with nothing attached and with the daemon, in turn. Needs root.

use std::{
    io::{Read, Write},
    os::unix::{net::UnixStream, process::parent_id},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use testbed::{Artifacts, Tracer};

use super::{
    daemon,
    paired::Estimate,
    processors::Processors,
    programs,
    row::{Row, median},
    start::connected,
};
use crate::build;

/// With and without the daemon, one after the other, so often.
const ROUNDS: usize = 15;
/// Bursts of a round, samples of a burst, and repetitions of a sample, which is short: on a shared machine only the quickest
/// samples are of what is measured and nothing else.
const BURSTS: usize = 25;
const SAMPLES: usize = 5;
const TIMES: u32 = 100;
/// Between bursts, with and without the daemon: time for it to read the ring, which would else go on beside what is measured.
/// What it takes of the processor is measured elsewhere, and two processors may be one core.
const PAUSE: Duration = Duration::from_millis(20);
/// Before the first sample of a round: caches, branch predictors, and the judgement of the connections.
const WARM: u32 = 2_000;
/// A body, or as many bytes of another protocol.
pub(super) const BYTES: usize = 1024;

/// Something that is done again and again.
struct Case {
    what: &'static str,
    /// Most nanoseconds that it may cost more with the daemon.
    limit: f64,
    target: &'static str,
    work: Box<dyn FnMut() -> Result<()>>,
}

pub(super) fn rows(artifacts: &Artifacts) -> Result<Vec<Row>> {
    build::build()?;
    let frames = programs::frames(artifacts)?;
    let send = std::fs::read(frames.join("send-json")).context("a send")?;
    let pulled = std::fs::read(frames.join("pull-1")).context("a pull's answer")?;
    let mut cases = cases(with_body(send, BYTES)?, pulled)?;
    // the rounds of each case: without, with
    let mut found: Vec<[Vec<f64>; 2]> = cases.iter().map(|_| Default::default()).collect();
    let processors = Processors::take_first()?;
    for turn in 0..=2 * ROUNDS {
        let attached = turn % 2 == 1;
        let _tracer: Option<Tracer> = if attached {
            let name = format!("calls-{turn}");
            Some(processors.elsewhere(|| daemon::start(artifacts, &name))?)
        } else {
            None
        };
        for (case, found) in cases.iter_mut().zip(&mut found) {
            found[usize::from(attached)].push(measure(&mut case.work)?);
        }
    }
    Ok(cases
        .iter()
        .zip(&found)
        .map(|(case, [without, with])| {
            let estimate = Estimate::of(with, without, |with, without| with - without);
            let Estimate { value: cost, error } = estimate;
            let before = median(without);
            Row {
                measure: case.what.to_owned(),
                ours: format!("{cost:+.0} ns ± {error:.0} ({:+.0} %)", cost / before * 100.0),
                others: format!("nothing attached: {before:.0} ns"),
                target: case.target.to_owned(),
                verdict: estimate.at_most(case.limit),
                command: "cargo xtask bench --only calls".to_owned(),
            }
        })
        .collect())
}

fn cases(send: Vec<u8>, pulled: Vec<u8>) -> Result<Vec<Case>> {
    let (mut near, mut far) = UnixStream::pair()?;
    let unix = move || echo(&mut near, &mut far, &[b'u'; BYTES]);
    let (mut near, mut far) = connected()?;
    let foreign = move || echo(&mut near, &mut far, &[b'f'; BYTES]);
    let (mut near, mut far) = connected()?;
    let ours = move || {
        echo(&mut near, &mut far, &send)?;
        echo(&mut far, &mut near, &pulled)
    };
    let case = |what, limit, target, work| Case {
        what,
        limit,
        target,
        work,
    };
    Ok(vec![
        case(
            "A system call that has nothing to do with sockets (`getppid`)",
            1.0,
            "nothing",
            Box::new(|| {
                std::hint::black_box(parent_id());
                Ok(())
            }),
        ),
        case(
            "A write and a read of 1 KiB, UNIX socket",
            40.0,
            "≤ 40 ns",
            Box::new(unix),
        ),
        case(
            "A write and a read of 1 KiB, TCP, another protocol",
            120.0,
            "≤ 120 ns",
            Box::new(foreign),
        ),
        case(
            "A send of 1 KiB and a pulled message of 1 KiB: a client's write and read, and the broker's",
            1500.0,
            "≤ 1.5 µs",
            Box::new(ours),
        ),
    ])
}

/// The frame with a body of so many bytes.
pub(super) fn with_body(mut frame: Vec<u8>, bytes: usize) -> Result<Vec<u8>> {
    let [_, _, _, _, _, a, b, c] = *frame.first_chunk().context("a frame that is too short")?;
    frame.truncate(8 + u32::from_be_bytes([0, a, b, c]) as usize);
    frame.resize(frame.len() + bytes, b'x');
    let length = u32::try_from(frame.len() - 4)?;
    frame.splice(..4, length.to_be_bytes());
    Ok(frame)
}

/// Writes at one end and reads at the other, in one thread.
pub(super) fn echo(near: &mut impl Write, far: &mut impl Read, bytes: &[u8]) -> Result<()> {
    let mut buffer = [0; 8 * BYTES];
    near.write_all(bytes)?;
    let target = buffer
        .get_mut(..bytes.len())
        .context("a frame that is too long")?;
    Ok(far.read_exact(target)?)
}

/// Nanoseconds of one, in the quickest sample.
fn measure(work: &mut impl FnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..WARM {
        work()?;
    }
    let mut quickest = f64::MAX;
    for _ in 0..BURSTS {
        thread::sleep(PAUSE);
        for _ in 0..SAMPLES {
            let begun = Instant::now();
            for _ in 0..TIMES {
                work()?;
            }
            quickest = quickest.min(begun.elapsed().as_nanos() as f64 / f64::from(TIMES));
        }
    }
    Ok(quickest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_gets_another_body() {
        let frame = with_body(b"\0\0\0\x09\0\0\0\x02{}old".to_vec(), 2);
        assert_eq!(frame.ok().as_deref(), Some(&b"\0\0\0\x08\0\0\0\x02{}xx"[..]));
    }
}
