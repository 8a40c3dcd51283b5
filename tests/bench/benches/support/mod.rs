//! Cases that take turns, timed by the time of their thread on the CPU: whatever else runs on the machine is not counted, and
//! where it runs slower for a while it does so for all of them. Criterion measures one case after the other, and on a shared
//! machine the second is often half as fast.

use std::{hint::black_box, thread::sleep, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Passes through everything, and the time between them: a machine may run slower for a minute.
const PASSES: usize = 5;
const PAUSE: Duration = Duration::from_secs(10);
/// Rounds of a pass that are not counted before those that are.
const WARM: usize = 2;

/// Something that is measured: gives the nanoseconds of one turn.
pub struct Case<'a> {
    name: &'a str,
    turn: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Case<'a> {
    /// `work` on what `prepare` makes; only the former is timed. A turn counts as so many repetitions.
    pub fn new<I, O>(
        name: &'a str,
        repetitions: usize,
        mut prepare: impl FnMut() -> I + 'a,
        mut work: impl FnMut(I) -> O + 'a,
    ) -> Case<'a> {
        let turn = move || {
            let input = prepare();
            let begun = now();
            black_box(work(black_box(input)));
            (now() - begun) as f64 / repetitions as f64
        };
        Case {
            name,
            turn: Box::new(turn),
        }
    }
}

/// Cases that are compared: each has its turn in every round of a pass.
pub struct Group<'a> {
    pub name: &'a str,
    pub rounds: usize,
    pub cases: Vec<Case<'a>>,
}

/// What came of the turns of a case in one pass.
struct Pass {
    /// Nanoseconds of its quick turns: a tenth of them were quicker, of less than ten none.
    quick: f64,
    /// What it takes for each that the first case takes in the same round.
    ratio: f64,
}

/// Measures all groups, and prints a line for each case: its group and name; nanoseconds of its quick turns in the quickest pass,
/// and half of what the passes differ by; the median of what it takes for each that the first case of its group takes in
/// the same round, and half of what the passes differ by.
pub fn measure(mut groups: Vec<Group<'_>>) {
    let mut found: Vec<Vec<Vec<Pass>>> = Vec::new();
    for pass in 0..PASSES {
        if pass > 0 {
            sleep(PAUSE);
        }
        found.push(groups.iter_mut().map(Group::pass).collect());
    }
    for (g, group) in groups.iter().enumerate() {
        for (c, case) in group.cases.iter().enumerate() {
            let of =
                |value: fn(&Pass) -> f64| found.iter().map(|pass| value(&pass[g][c])).collect::<Vec<_>>();
            let (quick, ratios) = (sorted(of(|pass| pass.quick)), sorted(of(|pass| pass.ratio)));
            let half = |values: &[f64]| (values[PASSES - 1] - values[0]) / 2.0;
            println!(
                "{}/{} {:.2} {:.2} {:.5} {:.5}",
                group.name,
                case.name,
                quick[0],
                half(&quick),
                ratios[PASSES / 2],
                half(&ratios)
            );
        }
    }
}

impl Group<'_> {
    fn pass(&mut self) -> Vec<Pass> {
        let mut turns: Vec<Vec<f64>> = self.cases.iter().map(|_| Vec::new()).collect();
        for round in 0..WARM + self.rounds {
            for (case, turns) in self.cases.iter_mut().zip(&mut turns) {
                let ns = (case.turn)();
                if round >= WARM {
                    turns.push(ns);
                }
            }
        }
        let first = turns[0].clone();
        let pass = |turns: Vec<f64>| Pass {
            ratio: sorted(turns.iter().zip(&first).map(|(own, first)| own / first).collect())
                [self.rounds / 2],
            quick: sorted(turns)[self.rounds / 10],
        };
        turns.into_iter().map(pass).collect()
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    values
}

fn now() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
