//! The capture core: what happens to one send or receive, whichever kernel event told of it.

use core::ffi::c_void;

use aya_ebpf::Global;
use tracer_abi::{Counter, Direction, Header, Kind, Role};

use crate::{
    copy::copy,
    counters::{count, count_at},
    emit, filter,
    follow::place,
    judge::{carries, judge},
    kernel::{current, now},
    scratch::exchange,
    socket::{self, Conn, Way, verdict},
    source::Source,
    verifier::at_most,
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

/// One byte that is not part of the stream.
const MSG_OOB: i32 = 0x1;
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
    if received && flags & (MSG_OOB | MSG_PEEK | MSG_ERRQUEUE) != 0 {
        return;
    }
    let readable = !(received && flags & MSG_TRUNC != 0);
    let Some(conn) = socket::get_or_create(sk) else {
        count(Counter::NoStorage, 1);
        return;
    };
    if conn.verdict == verdict::FOREIGN || conn.verdict == verdict::QUIET {
        return;
    }
    if !conn.way(direction).enter() {
        count(Counter::Contended, 1);
        return;
    }
    operation(sk, conn, direction, ret as u64, readable);
    conn.way(direction).leave();
}

/// A send or receive moved `length` bytes; `readable` is false where they are not in the caller's buffers.
#[inline(always)]
fn operation(sk: *mut c_void, conn: &mut Conn, direction: Direction, length: u64, readable: bool) {
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
        conn.filtered = 1;
        return;
    }
    conn.identify(sk);
    conn.tgid = tgid;
    conn.filtered = 0;
    let way = conn.way(direction);
    let told = Told::before(way);
    let length = way.advance(sk, direction, length);
    let offset = way.end - length;
    let skipped = offset.saturating_sub(told.end);
    // after bytes that went past, the start may be that of an earlier send
    let elapsed = if direction == Direction::SEND && start_ns != 0 && skipped == 0 {
        // another thread's send may have begun since
        at_most(time_ns.saturating_sub(start_ns), u64::from(u32::MAX))
    } else {
        0
    };
    let mut op = Operation {
        header: Header {
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
        },
        source: if readable && length != 0 {
            Source::of_syscall()
        } else {
            Source::NONE
        },
        length,
        told,
        skipped,
        found: 0,
        cause: 0,
    };
    let way = conn.way(direction);
    if skipped != 0 {
        way.held = 0;
        way.follow.missed(skipped);
    }
    let mut found = way.follow.place == place::KNOWN;
    let lost = way.follow.place == place::LOST;
    if !found {
        found = judge(conn, &op);
        if conn.verdict != verdict::OURS {
            if conn.verdict == verdict::FOREIGN
                && let Some(protocol) = carries(conn, direction, op.length)
            {
                emit::foreign(conn, sk, &op.header, protocol);
            }
            return;
        }
    }
    if found && exchange(&raw mut conn.opened, 1) == 0 {
        filter::remember(tgid);
        if !emit::open(conn, sk, &op.header) {
            conn.opened = 0;
        }
        if conn.role == Role::SERVER && SERVER_SIDE.load() == 0 {
            // where there was no room to tell of it, the next operation does
            if conn.opened != 0 {
                conn.verdict = verdict::QUIET;
            }
            return;
        }
    }
    op.found = found.into();
    op.cause = if lost {
        Counter::LostPlaceBytes as u32
    } else {
        Counter::UnplacedBytes as u32
    };
    tell(conn, &op);
}

/// One send or receive, as far as it is known before its bytes are looked at.
#[repr(C)]
pub(crate) struct Operation {
    /// What its records start with; the offset is that of its first byte.
    pub(crate) header: Header,
    /// Where its bytes are.
    pub(crate) source: Source,
    /// Bytes that it moved.
    pub(crate) length: u64,
    /// What was said about its direction before.
    told: Told,
    /// Bytes before it that went past the hooks.
    pub(crate) skipped: u64,
    /// 1: its direction's place in the frames is known.
    found: u32,
    /// Why it is not copied, where it is not `found`: index of a [`Counter`].
    pub(crate) cause: u32,
}

/// Copies an operation of a connection that is ours, or declares it.
///
/// VERIFIER: a global function, which is looked at once, by itself. As a part of the programs it is looked at for every way
/// that leads to it, and that four times.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn tell(conn: *mut Conn, op: *const Operation) -> u32 {
    // SAFETY: null, or valid for the call, as the verifier sees to.
    let (Some(conn), Some(op)) = (unsafe { conn.as_mut() }, unsafe { op.as_ref() }) else {
        return 0;
    };
    let from_start = conn.from_start != 0;
    let way = conn.way(op.header.direction);
    let from = op.told.from(way, from_start);
    let found = op.found != 0;
    if found && op.source.address != 0 {
        copy(way, op, from);
        if conn.role != Role::CLIENT && conn.received.follow.from_client != 0 {
            // it was open before the tracer, and clients' requests arrive here
            conn.role = Role::SERVER;
            if SERVER_SIDE.load() == 0 {
                conn.verdict = verdict::QUIET;
            }
        }
        return 1;
    }
    let mut cause = op.cause;
    if found && op.length != 0 {
        way.follow.missed(op.length);
        cause = Counter::NoBufferBytes as u32;
        count(Counter::NoBuffer, 1);
    }
    let until = op.header.offset + op.length - u64::from(way.held);
    if until > from {
        declare(&op.header, from, until - from, op.skipped, cause);
    }
    1
}

/// What has been said about a direction.
#[repr(C)]
struct Told {
    /// Offset behind the last byte that moved.
    end: u64,
    /// Bytes before it that are held or withheld, so not told of yet.
    held: u64,
}

impl Told {
    #[inline(always)]
    fn before(way: &Way) -> Told {
        Told {
            end: way.end,
            held: u64::from(way.held) + way.follow.withheld(),
        }
    }

    /// Offset behind the last byte that was told of. When nothing was, it is the stream's start, if that was seen.
    #[inline(always)]
    fn from(&self, way: &mut Way, from_start: bool) -> u64 {
        let first = way.begun == 0;
        way.begun = 1;
        if first && from_start {
            0
        } else {
            self.end.saturating_sub(self.held)
        }
    }
}

/// Declares `length` bytes at `from`: `skipped` of them went past the hooks, the others were not copied for this `cause`.
#[inline(always)]
fn declare(header: &Header, from: u64, length: u64, skipped: u64, cause: u32) {
    if emit::range(header, from, length) {
        count(Counter::SkippedBytes, skipped);
        count_at(cause, length - skipped);
    }
}

/// A socket is connected.
#[inline(always)]
pub(crate) fn established(sk: *mut c_void, role: Role) {
    let Some(conn) = socket::get_or_create(sk) else {
        return;
    };
    // who asks for a connection has read nothing of it yet
    if conn.has_ended() || (role == Role::CLIENT && conn.has_received()) {
        // it was connected to something else before
        ended(sk, conn);
        conn.reset();
    }
    conn.begin(sk, role);
    if role == Role::SERVER && conn.opened != 0 && SERVER_SIDE.load() == 0 {
        // a fast open had brought bytes before
        conn.verdict = verdict::QUIET;
    }
}

/// A socket goes from one state to another (see [`socket::tcp`]).
#[inline(always)]
pub(crate) fn moved_on(sk: *mut c_void, old: i32, new: i32) {
    if let Some(conn) = socket::existing(sk) {
        conn.moved_on(sk, old, new);
    }
}

/// A socket goes away.
#[inline(always)]
pub(crate) fn closed(sk: *mut c_void) {
    if let Some(conn) = socket::existing(sk) {
        ended(sk, conn);
    }
}

/// Declares what was not seen at the end of a connection, and its end.
#[inline(always)]
fn ended(sk: *const c_void, conn: &mut Conn) {
    if conn.opened == 0 {
        return;
    }
    let time_ns = now();
    if conn.verdict == verdict::OURS && conn.filtered == 0 {
        let (sent, received) = conn.finish(sk);
        let header = emit::plain(Kind::DATA, conn.cookie, time_ns, conn.tgid);
        rest(conn, Direction::SEND, header, sent);
        rest(conn, Direction::RECV, header, received);
    }
    emit::close(conn, time_ns);
}

/// The last `skipped` bytes of a direction went past, and those held before them were not enough for a verdict.
#[inline(always)]
fn rest(conn: &mut Conn, direction: Direction, mut header: Header, skipped: u64) {
    header.direction = direction;
    let from_start = conn.from_start != 0;
    let way = conn.way(direction);
    let mut told = Told::before(way);
    told.end -= skipped;
    let from = told.from(way, from_start);
    if way.end > from {
        declare(
            &header,
            from,
            way.end - from,
            skipped,
            Counter::UnplacedBytes as u32,
        );
    }
}
