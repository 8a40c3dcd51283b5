//! Does a frame start here? Asked of a connection that is not judged yet, and of a direction that lost its place.

use tracer_abi::{
    Counter, Direction, JUDGE_TRIES, PREFIX, Protocol, Role,
    sniff::{Verdict, foreign, sniff},
};

use crate::{
    capture::Operation,
    counters::count,
    follow::Follow,
    socket::{Conn, verdict},
    source::{read_prefix, read_u32},
    verifier::at_most,
};

/// Judges by this operation of a direction whose place is not known, together with the bytes held from those just before
/// it. True: a frame starts with the held bytes, or with this operation where none are held; the connection is ours. The
/// held bytes are then still in the prefix.
#[inline(always)]
pub(crate) fn judge(conn: &mut Conn, op: &Operation) -> bool {
    judge_operation(conn, op) != 0
}

/// [`judge`].
///
/// VERIFIER: a global function, which is looked at once, by itself.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn judge_operation(conn: *mut Conn, op: *const Operation) -> u32 {
    // SAFETY: null, or valid for the call, as the verifier sees to.
    let (Some(conn), Some(op)) = (unsafe { conn.as_mut() }, unsafe { op.as_ref() }) else {
        return 0;
    };
    decide(conn, op).into()
}

#[inline(always)]
fn decide(conn: &mut Conn, op: &Operation) -> bool {
    let way = conn.way(op.header.direction);
    let held = at_most(way.held.into(), PREFIX as u64) as usize;
    let mut found = Verdict::Other;
    let mut have = 0;
    if held != 0 {
        have = read_prefix(op.source, op.length, &mut way.prefix, held);
        found = look(op, &way.prefix, have, held);
        if found == Verdict::More && have as u64 == held as u64 + op.length {
            way.held = have as u8;
            return false;
        }
    }
    let mut dropped = 0;
    if found != Verdict::Frame {
        // what was held is not the start of a frame: perhaps this operation is
        dropped = held as u64;
        way.held = 0;
        have = read_prefix(op.source, op.length, &mut way.prefix, 0);
        found = look(op, &way.prefix, have, 0);
        if found == Verdict::More && have as u64 == op.length {
            way.held = have as u8;
        }
    }
    if found == Verdict::Frame {
        way.follow = Follow::START;
        if conn.verdict == verdict::OPEN {
            conn.verdict = verdict::OURS;
            count(Counter::Judged, 1);
        }
        return true;
    }
    if conn.verdict == verdict::OPEN {
        count(Counter::PrefixBytes, dropped);
        if conn.way(op.header.direction).held == 0 {
            // bytes that could not be read say nothing
            let read = have == PREFIX || have as u64 == op.length;
            if !read {
                count(Counter::UnjudgedNoBufferBytes, op.length);
            }
            give_up_or_wait(conn, op.header.offset == 0 && read);
        }
    }
    false
}

/// What a connection that was just judged foreign carries, where that is of interest: at the end that asked for the
/// connection, so that each is told of once.
#[inline(always)]
pub(crate) fn carries(conn: &mut Conn, direction: Direction, length: u64) -> Option<Protocol> {
    if conn.role == Role::SERVER {
        return None;
    }
    let way = conn.way(direction);
    let first = way.prefix.first_chunk::<PREFIX>()?;
    let have = if length < PREFIX as u64 {
        length as usize
    } else {
        PREFIX
    };
    let protocol = foreign(first, have)?;
    count(
        if protocol == Protocol::TLS {
            Counter::ForeignTls
        } else {
            Counter::ForeignHttp2
        },
        1,
    );
    Some(protocol)
}

/// The rule, with the one look further into the operation that a binary header with a remark needs.
#[inline(always)]
fn look(op: &Operation, prefix: &[u8; 2 * PREFIX], have: usize, held: usize) -> Verdict {
    let Some(first) = prefix.first_chunk::<PREFIX>() else {
        return Verdict::Other;
    };
    match sniff(first, have) {
        Verdict::FrameIf { at, value } => {
            let at = u64::from(at).saturating_sub(held as u64);
            if read_u32(op.source, op.length, at) == Some(value) {
                Verdict::Frame
            } else {
                Verdict::Other
            }
        }
        other => other,
    }
}

/// Not a frame. A connection seen from its first byte is foreign at once; one that was open before may have been
/// met in the middle of a frame, and the broker's end may start with a load balancer's PROXY header.
#[inline(always)]
fn give_up_or_wait(conn: &mut Conn, first: bool) {
    conn.tries += 1;
    let certain = first && conn.from_start != 0 && conn.role != Role::SERVER;
    if certain || conn.tries >= JUDGE_TRIES {
        conn.verdict = verdict::FOREIGN;
        count(Counter::Foreign, 1);
    }
}
