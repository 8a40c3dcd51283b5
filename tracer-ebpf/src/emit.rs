//! Records into the ring buffer.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    btf_maps::RingBuf,
    helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_query},
    macros::btf_map,
};
use tracer_abi::{
    CHUNK, Close, Counter, Direction, Header, Kind, Open, Process, Protocol, RING_BYTES,
    record::{HEADER, MISSED},
};

use crate::{
    counters::count,
    kernel::{
        NET_INUM, SKC_DADDR, SKC_DPORT, SKC_FAMILY, SKC_NET, SKC_NUM, SKC_RCV_SADDR, SKC_V6_DADDR,
        SKC_V6_RCV_SADDR, member,
    },
    scratch::Slot,
    socket::{Conn, IPV4, verdict},
};

/// User space may set another size at load.
#[btf_map]
static EVENTS: RingBuf<(), RING_BYTES> = RingBuf::new();

/// The reader is woken whenever the bytes that were ever written reach a multiple of this, a power of two; otherwise it comes
/// by itself every few milliseconds. Waking it for every record would cost the traced process more than the copy does, also
/// while the reader is behind and awake. Where two CPUs write at once each may think that the other one reaches it: then the
/// next multiple wakes, or the clock does.
#[unsafe(no_mangle)]
static WAKE_BYTES: Global<u64> = Global::new(1 << 20);

/// Pending bytes from which on stream bytes find no more room. The rest of the ring is for what tells of connections and
/// processes: a range that is missing can be declared, but only if the connection's beginning and end are known.
#[unsafe(no_mangle)]
static DATA_BYTES: Global<u64> = Global::new(RING_BYTES as u64 / 8 * 7);

const BPF_RB_FORCE_WAKEUP: u64 = 2;

/// Bytes in the ring that the reader has not read.
#[inline(always)]
fn pending() -> u64 {
    const BPF_RB_AVAIL_DATA: u64 = 0;
    query(BPF_RB_AVAIL_DATA)
}

#[inline(always)]
fn query(what: u64) -> u64 {
    // SAFETY: a map pointer and a constant.
    unsafe { bpf_ringbuf_query((&raw const EVENTS).cast_mut().cast(), what) }
}

/// `BPF_RB_NO_WAKEUP` or `BPF_RB_FORCE_WAKEUP`, for the next record, of `size` bytes.
#[inline(always)]
fn wake(size: usize) -> u64 {
    const BPF_RB_NO_WAKEUP: u64 = 1;
    const BPF_RB_PROD_POS: u64 = 3;
    let written = query(BPF_RB_PROD_POS);
    // the kernel's own header before each record, which begins at a multiple of eight
    let next = written + (size as u64 + 8).next_multiple_of(8);
    if written ^ next >= WAKE_BYTES.load() {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    }
}

/// A record whose size is known to the compiler.
#[inline(always)]
fn put<T: 'static>(record: T) -> bool {
    let flags = wake(size_of::<T>());
    let Some(mut entry) = EVENTS.reserve_untyped::<T>(0) else {
        count(Counter::RingFull, 1);
        return false;
    };
    entry.write(record);
    entry.submit(flags);
    count(Counter::Records, 1);
    true
}

/// The record that `slot` holds: its header and the `captured` bytes behind it. False where there was no room, which is
/// counted.
#[inline(always)]
pub(crate) fn slot(slot: &mut Slot) -> bool {
    let stands_for = u64::from(slot.header.original);
    let captured = slot.header.captured as usize;
    let size = HEADER + captured;
    // VERIFIER: the bound must be visible right before the call.
    let size = if size > HEADER + CHUNK {
        HEADER + CHUNK
    } else {
        size
    };
    let map = (&raw const EVENTS).cast_mut().cast::<c_void>();
    let pending = pending();
    let record = (&raw mut slot.header).cast();
    // SAFETY: header and data are neighbours in one map value of at least `size` bytes.
    let full = pending > DATA_BYTES.load()
        || unsafe { bpf_ringbuf_output(map, record, size as u64, wake(size)) } != 0;
    if full {
        count(Counter::RingFull, 1);
        count(Counter::RingFullBytes, stands_for);
    } else {
        count(Counter::Records, 1);
        count(Counter::Bytes, stands_for);
        count(Counter::CopiedBytes, captured as u64);
    }
    !full
}

/// Declares a range of the stream that was not seen: `length` bytes at `offset`, otherwise as `header`. False
/// where there was no room, which is counted: then it must not be counted for its own cause too.
#[inline(always)]
pub(crate) fn range(header: &Header, offset: u64, length: u64) -> bool {
    let pending = pending();
    let flags = wake(HEADER);
    let entry = if pending > DATA_BYTES.load() {
        None
    } else {
        EVENTS.reserve_untyped::<Header>(0)
    };
    let Some(mut entry) = entry else {
        count(Counter::RingFull, 1);
        count(Counter::RingFullBytes, length);
        return false;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved memory has the size of a header. Written in place: the stack is 512 bytes.
    unsafe {
        *record = *header;
        (*record).offset = offset;
        (*record).flags = MISSED;
        (*record).captured = 0;
        (*record).original = if length < u64::from(u32::MAX) {
            length as u32
        } else {
            u32::MAX
        };
    }
    entry.submit(flags);
    count(Counter::Records, 1);
    count(Counter::Bytes, length);
    true
}

/// Tells who the connection is. False where there was no room: then it must be told again. Wakes the reader, so that
/// it looks at the process while that is still there.
#[inline(always)]
pub(crate) fn open(conn: &Conn, sk: *const c_void, header: &Header) -> bool {
    announce(conn, sk, header, Kind::OPEN, 0)
}

/// Tells of a connection that is not ours. Where there was no room it goes untold, and is counted.
#[inline(always)]
pub(crate) fn foreign(conn: &Conn, sk: *const c_void, header: &Header, protocol: Protocol) {
    announce(conn, sk, header, Kind::FOREIGN, protocol.0);
}

#[inline(always)]
fn announce(conn: &Conn, sk: *const c_void, header: &Header, kind: Kind, flags: u16) -> bool {
    let Some(mut entry) = EVENTS.reserve_untyped::<Open>(0) else {
        count(Counter::RingFull, 1);
        return false;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved memory has the size of the record, and every field of it is written. Written in place:
    // the stack is 512 bytes.
    unsafe {
        (*record).header = *header;
        (*record).header.kind = kind;
        (*record).header.flags = flags;
        addresses(sk, &mut (*record).local_addr, &mut (*record).remote_addr);
        let net: u64 = member(sk, &SKC_NET).unwrap_or(0);
        (*record).netns = member(net as *const c_void, &NET_INUM).unwrap_or(0);
        (*record).family = member(sk, &SKC_FAMILY).unwrap_or(0);
        (*record).local_port = member(sk, &SKC_NUM).unwrap_or(0);
        (*record).remote_port = u16::from_be(member(sk, &SKC_DPORT).unwrap_or(0));
        (*record).role = conn.role;
        (*record).from_start = conn.from_start;
        (*record).reserved = 0;
    }
    entry.submit(BPF_RB_FORCE_WAKEUP);
    count(Counter::Records, 1);
    true
}

/// IPv6 addresses, or IPv4 ones with zeros behind them.
#[inline(always)]
fn addresses(sk: *const c_void, local: &mut [u8; 16], remote: &mut [u8; 16]) {
    let family: u16 = member(sk, &SKC_FAMILY).unwrap_or(0);
    if family == IPV4 {
        let [a, b, c, d]: [u8; 4] = member(sk, &SKC_RCV_SADDR).unwrap_or([0; 4]);
        *local = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let [a, b, c, d]: [u8; 4] = member(sk, &SKC_DADDR).unwrap_or([0; 4]);
        *remote = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    } else {
        *local = member(sk, &SKC_V6_RCV_SADDR).unwrap_or([0; 16]);
        *remote = member(sk, &SKC_V6_DADDR).unwrap_or([0; 16]);
    }
}

/// Tells that a judged connection is gone. Of one that was kept quiet nothing was to be seen, so nothing is missing.
#[inline(always)]
pub(crate) fn close(conn: &Conn, time_ns: u64) {
    let quiet = conn.verdict == verdict::QUIET;
    put(Close {
        header: plain(Kind::CLOSE, conn.cookie, time_ns, conn.tgid),
        sent_end: if quiet { 0 } else { conn.sent.end },
        received_end: if quiet { 0 } else { conn.received.end },
    });
}

/// Tells that a process ended or runs another program.
#[inline(always)]
pub(crate) fn process(tgid: u32, time_ns: u64, ended: bool) {
    put(Process {
        header: plain(Kind::PROCESS, 0, time_ns, tgid),
        ended: ended.into(),
        reserved: 0,
    });
}

/// The start of a record without bytes.
#[inline(always)]
pub(crate) fn plain(kind: Kind, cookie: u64, time_ns: u64, tgid: u32) -> Header {
    Header {
        kind,
        direction: Direction::SEND,
        flags: 0,
        captured: 0,
        cookie,
        time_ns,
        offset: 0,
        original: 0,
        elapsed_ns: 0,
        tgid,
        tid: 0,
    }
}
