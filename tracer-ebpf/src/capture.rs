//! The capture core: what happens to one send or receive, whichever kernel event told of it.

use core::ffi::c_void;

use aya_ebpf::Global;
use aya_log_ebpf::debug;
use tracer_abi::{Counter, Direction, Header, IOVECS, Kind, Role};

use crate::{
    copy::copy,
    counters::count,
    emit, filter,
    follow::place,
    judge::{Attempt, carries, judge},
    kernel::{current, now},
    scratch::exchange,
    socket::{self, verdict},
    source::Source,
    verifier::{at_most, forget},
};

/// 1: the broker's end of a connection is copied too.
#[unsafe(no_mangle)]
static SERVER_SIDE: Global<u32> = Global::new(0);

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

/// Bytes stay in the receive queue.
const MSG_PEEK: i32 = 0x2;
/// Bytes are thrown away instead of copied.
const MSG_TRUNC: i32 = 0x20;
/// No stream bytes at all: the error queue.
const MSG_ERRQUEUE: i32 = 0x2000;

/// A send or receive with these `flags` returned `ret`: the bytes that it moved, or an error.
///
/// # Safety
/// `sk` must be a `struct sock *` argument of the running program, and a TCP socket.
#[inline(always)]
pub(crate) unsafe fn returned(sk: *mut c_void, direction: Direction, ret: i32, flags: i32) {
    let received = direction == Direction::RECV;
    if ret <= 0 {
        if !received && let Some(conn) = socket::existing(sk) {
            conn.send_start_ns = 0;
        }
        return;
    }
    if received && flags & (MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return;
    }
    let readable = !(received && flags & MSG_TRUNC != 0);
    // SAFETY: by the contract above.
    unsafe { operation(sk, direction, ret as u64, readable) };
}

/// A send or receive moved `length` bytes; `readable` is false where they are not in the caller's buffers.
///
/// # Safety
/// `sk` must be a `struct sock *` argument of the running program, and a TCP socket.
#[inline(always)]
unsafe fn operation(sk: *mut c_void, direction: Direction, length: u64, readable: bool) {
    let Some(conn) = socket::get_or_create(sk) else {
        count(Counter::NoStorage, 1);
        return;
    };
    if conn.verdict == verdict::FOREIGN || conn.verdict == verdict::QUIET {
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
    // after bytes that went past, the start may be that of an earlier send
    let elapsed = if direction == Direction::SEND && start_ns != 0 && skipped == 0 {
        at_most(time_ns - start_ns, u64::from(u32::MAX))
    } else {
        0
    };
    let elapsed = forget(elapsed, time_ns);
    let header = Header {
        kind: Kind::DATA,
        direction,
        flags: 0,
        captured: 0,
        cookie: conn.cookie,
        time_ns,
        offset,
        original: 0,
        elapsed_ns: elapsed as u32,
        tgid,
        tid,
    };
    let source = if readable {
        Source::of_syscall()
    } else {
        Source::NONE
    };
    let source = Source {
        address: forget(source.address, time_ns),
        vectors: at_most(forget(source.vectors, time_ns), IOVECS),
    };
    let way = conn.way(direction);
    if way.follow.place == place::KNOWN {
        if skipped != 0 {
            count(Counter::SkippedBytes, skipped);
            way.follow.missed(skipped);
        }
    } else if skipped != 0 || source.address == 0 {
        way.held = 0;
    }
    if conn.way(direction).follow.place != place::KNOWN {
        let attempt = Attempt {
            direction,
            source,
            length,
            offset,
        };
        let found = source.address != 0 && judge(conn, &attempt);
        if !found {
            if conn.verdict == verdict::FOREIGN
                && let Some(protocol) = carries(conn, &attempt)
            {
                emit::foreign(conn, sk, &header, protocol);
            }
            if conn.verdict == verdict::OURS && conn.way(direction).held == 0 {
                let lost = conn.way(direction).follow.place == place::LOST;
                count(
                    if lost {
                        Counter::LostPlaceBytes
                    } else {
                        Counter::UnplacedBytes
                    },
                    length,
                );
                emit::range(&header, offset, length);
            }
            return;
        }
    }
    if exchange(&raw mut conn.opened, 1) == 0 {
        filter::remember(tgid);
        if !emit::open(conn, sk, &header) {
            conn.opened = 0;
        }
        debug!(
            &(),
            "connection {} of process {} judged", header.cookie, header.tgid
        );
        if conn.role == Role::SERVER && SERVER_SIDE.load() == 0 && conn.opened != 0 {
            conn.verdict = verdict::QUIET;
            return;
        }
    }
    if source.address == 0 {
        count(Counter::NoBuffer, 1);
        count(Counter::NoBufferBytes, length);
        conn.way(direction).follow.missed(length);
        emit::range(&header, offset, length);
    } else {
        copy(conn.way(direction), source, length, &header);
        if conn.role == Role::UNKNOWN && conn.received.follow.from_client != 0 {
            // it was open before the tracer, and clients' requests arrive here
            conn.role = Role::SERVER;
            if SERVER_SIDE.load() == 0 {
                conn.verdict = verdict::QUIET;
            }
        }
    }
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
