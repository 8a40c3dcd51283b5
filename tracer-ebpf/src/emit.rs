//! Records into the ring buffer.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    btf_maps::RingBuf,
    helpers::generated::{bpf_ringbuf_output, bpf_ringbuf_query},
    macros::btf_map,
};
use tracer_abi::{
    CHUNK, Close, Counter, Direction, Header, Kind, Open, PREFIX, Process, RING_BYTES, record::HEADER,
};

use crate::{
    counters::count,
    kernel::{
        NET_INUM, SKC_DADDR, SKC_DPORT, SKC_FAMILY, SKC_NET, SKC_NUM, SKC_RCV_SADDR, SKC_V6_DADDR,
        SKC_V6_RCV_SADDR, current, member,
    },
    scratch::Slot,
    socket::{Conn, IPV4, Way},
};

/// User space may set another size at load.
#[btf_map]
static EVENTS: RingBuf<(), RING_BYTES> = RingBuf::new();

/// Pending bytes from which on the reader is woken; below, it comes by itself every few milliseconds. Waking it for
/// every record would cost the traced process more than the copy does.
#[unsafe(no_mangle)]
static WAKE_BYTES: Global<u64> = Global::new(1 << 20);

/// `BPF_RB_NO_WAKEUP` or `BPF_RB_FORCE_WAKEUP`.
#[inline(always)]
fn wake() -> u64 {
    const BPF_RB_AVAIL_DATA: u64 = 0;
    const BPF_RB_NO_WAKEUP: u64 = 1;
    const BPF_RB_FORCE_WAKEUP: u64 = 2;
    // SAFETY: a map pointer and a constant.
    let pending = unsafe { bpf_ringbuf_query((&raw const EVENTS).cast_mut().cast(), BPF_RB_AVAIL_DATA) };
    if pending >= WAKE_BYTES.load() {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    }
}

/// A record whose size is known to the compiler.
#[inline(always)]
fn put<T: 'static>(record: T) -> bool {
    let Some(mut entry) = EVENTS.reserve_untyped::<T>(0) else {
        count(Counter::RingFull, 1);
        return false;
    };
    entry.write(record);
    entry.submit(wake());
    count(Counter::Records, 1);
    true
}

/// The record that `slot` holds: its header and the `captured` bytes behind it. Counts what is lost.
#[inline(always)]
pub(crate) fn slot(slot: &mut Slot) {
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
    // SAFETY: header and data are neighbours in one map value of at least `size` bytes.
    let failed = unsafe { bpf_ringbuf_output(map, (&raw mut slot.header).cast(), size as u64, wake()) } != 0;
    if failed {
        count(Counter::RingFull, 1);
        count(Counter::RingFullBytes, stands_for);
    } else {
        count(Counter::Records, 1);
        count(Counter::Bytes, stands_for);
        count(Counter::CopiedBytes, captured as u64);
    }
}

/// Declares a range of the stream whose bytes are not copied.
#[inline(always)]
pub(crate) fn range(mut header: Header, length: u64) {
    header.captured = 0;
    header.original = if length < u64::from(u32::MAX) {
        length as u32
    } else {
        u32::MAX
    };
    if put(header) {
        count(Counter::Bytes, length);
    } else {
        count(Counter::RingFullBytes, length);
    }
}

/// The bytes of one direction that were held until the connection was judged.
#[inline(always)]
pub(crate) fn held(cookie: u64, direction: Direction, way: &mut Way, offset: u64) {
    #[repr(C)]
    struct Held {
        header: Header,
        bytes: [u8; PREFIX],
    }
    let length = way.held as usize;
    way.held = 0;
    if length == 0 || length > PREFIX {
        return;
    }
    let (tgid, tid) = current();
    let header = Header {
        kind: Kind::DATA,
        direction,
        flags: 0,
        captured: length as u32,
        cookie,
        time_ns: way.held_since_ns,
        offset,
        original: length as u32,
        elapsed_ns: 0,
        tgid,
        tid,
    };
    let bytes = way.prefix.first_chunk::<PREFIX>().copied().unwrap_or([0; PREFIX]);
    if put(Held { header, bytes }) {
        count(Counter::Bytes, length as u64);
        count(Counter::CopiedBytes, length as u64);
    } else {
        count(Counter::RingFullBytes, length as u64);
    }
}

/// Tells who the connection is.
#[inline(always)]
pub(crate) fn open(conn: &Conn, sk: *const c_void, header: Header) {
    let family: u16 = member(sk, &SKC_FAMILY).unwrap_or(0);
    let (mut local, mut remote) = ([0u8; 16], [0u8; 16]);
    if family == IPV4 {
        let [a, b, c, d]: [u8; 4] = member(sk, &SKC_RCV_SADDR).unwrap_or([0; 4]);
        local = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let [a, b, c, d]: [u8; 4] = member(sk, &SKC_DADDR).unwrap_or([0; 4]);
        remote = [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    } else {
        local = member(sk, &SKC_V6_RCV_SADDR).unwrap_or(local);
        remote = member(sk, &SKC_V6_DADDR).unwrap_or(remote);
    }
    let net: u64 = member(sk, &SKC_NET).unwrap_or(0);
    let remote_port: u16 = member(sk, &SKC_DPORT).unwrap_or(0);
    put(Open {
        header: Header {
            kind: Kind::OPEN,
            captured: 0,
            original: 0,
            elapsed_ns: 0,
            ..header
        },
        local_addr: local,
        remote_addr: remote,
        netns: member(net as *const c_void, &NET_INUM).unwrap_or(0),
        family,
        local_port: member(sk, &SKC_NUM).unwrap_or(0),
        remote_port: u16::from_be(remote_port),
        role: conn.role,
        from_start: conn.from_start,
        reserved: 0,
    });
}

/// Tells that a judged connection is gone.
#[inline(always)]
pub(crate) fn close(conn: &Conn, time_ns: u64) {
    put(Close {
        header: plain(Kind::CLOSE, conn.cookie, time_ns, conn.tgid),
        sent_end: conn.sent.end,
        received_end: conn.received.end,
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

#[inline(always)]
fn plain(kind: Kind, cookie: u64, time_ns: u64, tgid: u32) -> Header {
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
