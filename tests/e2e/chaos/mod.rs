//! What goes wrong in production: the tracer killed, stopped, twice on one machine; the broker gone and back; identities that
//! are used again. Each case looks at the account: what was moved is seen or declared, and no span says anything wrong.

mod identities;
mod real;
mod sockets;
mod stopped;
mod wire;

use std::{collections::HashSet, sync::Arc};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use testbed::{Span, ids, totals::total};

use crate::{Case, world::World};

pub(crate) fn trials(world: &Arc<World>) -> Vec<Trial> {
    let cases: &[Case] = &[
        ("a port that is used again at once", sockets::port_again),
        ("a socket that is connected again", sockets::socket_again),
        (
            "threads that write to one socket without a lock",
            sockets::without_lock,
        ),
        ("the same addresses in two networks", sockets::two_networks),
        ("every record arrives, however few there are", stopped::few),
        ("stopped for seconds", stopped::for_seconds),
        ("stopped for seconds with a small ring", stopped::with_small_ring),
        ("a process id that is used again", identities::process_again),
        ("two tracers at once", real::two_tracers),
        ("killed three times under load", real::killed),
        ("the broker ends and comes back under load", real::broker_gone),
    ];
    crate::cases(world, "chaos", cases)
}

/// The tracer accounts for all bytes that were moved over the connections of the processes that it is to look at.
fn accounts(log: &str, moved: u64) -> Result<()> {
    let seen = total(log, "seen_bytes")?;
    // told only where it is not zero
    let lost = total(log, "gap_bytes").unwrap_or_default();
    ensure!(
        seen + lost == moved,
        "{seen} bytes were seen and {lost} lost, {moved} were moved\n{log}"
    );
    Ok(())
}

/// Each `send` span of a topic is of one of these messages and has its ids; none is there twice. Returns how many there are.
///
/// This process plays both ends. Once the tracer knows, it is a proxy to it, which passes messages on: then the message's own
/// `send` span is the parent.
fn right<'a>(spans: &[Span], topic: &str, messages: impl IntoIterator<Item = &'a str>) -> Result<usize> {
    let messages: HashSet<&str> = messages.into_iter().collect();
    let mut seen = HashSet::new();
    for span in spans
        .iter()
        .filter(|span| span.topic() == topic && span.operation() == "send")
    {
        let id = span.message_id();
        ensure!(messages.contains(id), "nobody sent this: {span:#?}");
        ensure!(seen.insert(id), "twice: {span:#?}");
        ensure!(span.trace_id == ids::trace_id(id), "{span:#?}");
        let own = ids::send_span_id(id);
        ensure!(span.span_id == own || span.parent_span_id == own, "{span:#?}");
    }
    Ok(seen.len())
}
