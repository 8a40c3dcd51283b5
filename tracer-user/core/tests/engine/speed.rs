//! How long messages take from record to span. Not a pass or fail: `cargo test --release -p tracer-core --test
//! engine -- --ignored --nocapture` prints numbers.

use std::time::Instant;

use tracer_core::model::Timestamp;

use super::support::*;

#[test]
#[ignore = "prints numbers"]
fn speed() {
    const MESSAGES: i64 = 100_000;
    let mut sends = Script::new();
    let c = sends.connect();
    for n in 0..MESSAGES {
        let frame = send(
            n as i32,
            "orders",
            &format!("UNIQ_KEY=id-{n};TAGS=a;KEYS=k;WAIT=true"),
        );
        sends.write(c, frame.body(vec![0; 1024]));
        sends.read(c, sent(n as i32, 0));
    }
    let mut pulls = Script::new();
    let c = pulls.connect();
    for batch in 0..MESSAGES / 32 {
        let first = batch * 32;
        pulls.at(batch as u64 * 10);
        pulls.write(c, pull(batch as i32, "cg", "orders", 0, first, Some(first - 16)));
        let messages: Vec<_> = (first..first + 32)
            .map(|offset| message("orders", offset, &format!("id-{offset}")).with("TAGS=a;KEYS=k;WAIT=true"))
            .collect();
        pulls.read(c, found(batch as i32, first + 32, &messages));
    }
    for (what, script) in [("send", &sends), ("delivery", &pulls)] {
        let best = (0..5).map(|_| {
            let start = Instant::now();
            let (spans, _) = feed(&script.config, &script.events, Timestamp(u64::MAX));
            start.elapsed() / spans.len() as u32
        });
        println!("{what}: {:?} for each span", best.min().expect("a run"));
    }
}
