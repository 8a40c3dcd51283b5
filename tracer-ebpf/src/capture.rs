//! The capture core: what happens to one send or receive, whichever kernel event told of it.

use core::ffi::c_void;

use aya_log_ebpf::debug;
use tracer_abi::{Counter, Direction, Header, Kind};

use crate::{
    copy::copy,
    counters::count,
    emit, filter,
    judge::{Attempt, judge},
    kernel::{current, now},
    scratch::exchange,
    socket::{self, Conn, verdict},
    source::Source,
};

/// A send is about to move its first byte. The first call of several counts.
#[inline(always)]
pub(crate) fn send_started(sk: *mut c_void) {
    if let Some(conn) = socket::existing(sk)
        && conn.verdict != verdict::FOREIGN
        && conn.send_start_ns == 0
    {
        conn.send_start_ns = now();
    }
}

/// A send or receive moved nothing.
#[inline(always)]
pub(crate) fn nothing_moved(sk: *mut c_void, direction: Direction) {
    if direction == Direction::SEND
        && let Some(conn) = socket::existing(sk)
    {
        conn.send_start_ns = 0;
    }
}

/// A send or receive moved `length` bytes; `readable` is false where they are not in the caller's buffers.
///
/// # Safety
/// `sk` must be a `struct sock *` argument of the running program, and a TCP socket.
#[inline(always)]
pub(crate) unsafe fn operation(sk: *mut c_void, direction: Direction, length: u64, readable: bool) {
    let Some(conn) = socket::get_or_create(sk) else {
        count(Counter::NoStorage, 1);
        return;
    };
    if conn.verdict == verdict::FOREIGN {
        return;
    }
    let time_ns = now();
    let start_ns = conn.send_start_ns;
    if direction == Direction::SEND {
        conn.send_start_ns = 0;
    }
    let (tgid, tid) = current();
    if filter::denied(tgid) {
        if conn.verdict == verdict::OURS {
            count(Counter::Filtered, 1);
        }
        // the stream goes on unseen; should the process be allowed later, that is one hole
        return;
    }
    conn.identify(sk);
    conn.tgid = tgid;
    let before = conn.way(direction).end;
    let offset = conn.way(direction).advance(sk, direction, length);
    let skipped = offset.saturating_sub(before);
    let elapsed = if direction == Direction::SEND && start_ns != 0 {
        time_ns - start_ns
    } else {
        0
    };
    let header = Header {
        kind: Kind::DATA,
        direction,
        flags: 0,
        captured: 0,
        cookie: conn.cookie,
        time_ns,
        offset,
        original: 0,
        elapsed_ns: if elapsed < u64::from(u32::MAX) {
            elapsed as u32
        } else {
            u32::MAX
        },
        tgid,
        tid,
    };
    let source = if readable {
        Source::of_syscall()
    } else {
        Source {
            address: 0,
            vectors: 0,
        }
    };
    if conn.verdict == verdict::OPEN {
        if skipped != 0 {
            conn.way(direction).held = 0;
        }
        if source.address == 0 {
            conn.way(direction).held = 0;
            return;
        }
        if !judge(
            conn,
            &Attempt {
                direction,
                source,
                length,
                offset,
                time_ns,
            },
        ) {
            return;
        }
    } else if skipped != 0 {
        count(Counter::SkippedBytes, skipped);
    }
    if exchange(&raw mut conn.opened, 1) == 0 {
        announce(conn, sk, header);
    }
    if source.address == 0 {
        count(Counter::NoBuffer, 1);
        count(Counter::NoBufferBytes, length);
        emit::range(header, length);
    } else {
        copy(source, length, header);
    }
}

/// Tells user space of a connection, and gives it what was held of both directions. The bytes held of the
/// direction of the present operation are those before it.
#[inline(always)]
fn announce(conn: &mut Conn, sk: *mut c_void, header: Header) {
    filter::remember(header.tgid);
    emit::open(conn, sk, header);
    debug!(
        &(),
        "connection {} of process {} judged", header.cookie, header.tgid
    );
    let cookie = conn.cookie;
    let sent_end = if header.direction == Direction::SEND {
        header.offset
    } else {
        conn.sent.end
    };
    let received_end = if header.direction == Direction::RECV {
        header.offset
    } else {
        conn.received.end
    };
    let sent = &mut conn.sent;
    emit::held(
        cookie,
        Direction::SEND,
        sent,
        sent_end.saturating_sub(u64::from(sent.held)),
    );
    let received = &mut conn.received;
    emit::held(
        cookie,
        Direction::RECV,
        received,
        received_end.saturating_sub(u64::from(received.held)),
    );
}

/// A socket goes away.
#[inline(always)]
pub(crate) fn closed(sk: *mut c_void) {
    if let Some(conn) = socket::existing(sk)
        && conn.opened != 0
    {
        emit::close(conn, now());
    }
}
