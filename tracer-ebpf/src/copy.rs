//! Copies what matters of one operation into records, and declares the rest.
//!
//! A record is put together in a scratch slot: copied bytes first, then perhaps a skipped range, which only makes
//! the record stand for more bytes than it carries. When bytes are copied again, the next record begins.

use core::ffi::c_void;

use aya_ebpf::{
    Global,
    helpers::generated::{bpf_loop, bpf_probe_read_kernel, bpf_probe_read_user},
};
use aya_log_ebpf::warn;
use tracer_abi::{CALL_STEPS, CHUNK, Counter, IOVECS, record::MISSED};

use crate::{
    capture::Operation,
    counters::{count, count_at},
    emit,
    follow::{Follow, WINDOW, Withheld, place},
    group::{SEARCH_BYTES, Search, may_be_named},
    scratch::{self, Slot},
    socket::Way,
    source::{Vector, read_pair},
    verifier::{at_most, forget, shared},
};

/// 1: what would be skipped is copied too, and user space skips it. A constant to the verifier, so the way that is not
/// taken costs nothing.
#[unsafe(no_mangle)]
static COPY_BODIES: Global<u32> = Global::new(0);

/// How far the copy has come. Lives in a scratch slot, see there.
///
/// Fields that are set to zero at once are no neighbours: for two of them the compiler calls a function that goes byte by
/// byte.
#[repr(C)]
pub(crate) struct Cursor {
    /// Next entry of the iovec array.
    vector: u64,
    /// Entries left.
    vectors: u64,
    /// Address of the next byte.
    base: u64,
    /// Bytes of the record in the slot that are copied.
    filled: u64,
    /// Bytes left in this segment.
    segment: u64,
    /// Bytes behind the copied ones that are skipped.
    skipped: u64,
    /// Bytes left of the operation, those held before it included.
    left: u64,
    /// Bytes from the cursor on that stand behind the record's copied ones already.
    ahead: u64,
    /// Bytes that were held before the operation: the segment is kernel memory.
    held: u64,
    /// Bytes before the operation that went past: counted with their record.
    gap_skipped: u64,
    /// Why others before it were not copied.
    cause: u64,
    /// How many those are, counted likewise.
    gap_other: u64,
    /// Where in the record the header of the present frame starts, plus 1; 0: not in this record, or not from its start.
    head: u64,
}

/// Bytes that are read with what is needed now, because they may be needed next: at a frame's start, its header; behind
/// copied bytes, the fixed part of another record. One long read costs little more than a short one.
const AHEAD: u64 = 512;
const AHEAD_OF_RECORD: u64 = 128;

/// Copies an operation, and declares what comes before it and was not told of yet: all from `from` to the bytes that are
/// held.
///
/// The gap before it is the first record, which the slot is used for, so that none is put together elsewhere.
#[inline(always)]
pub(crate) fn copy(way: &mut Way, op: &Operation, from: u64) {
    let held = u64::from(way.held);
    way.held = 0;
    let withheld = way.follow.withheld();
    let offset = op.header.offset;
    let before = forget(offset - held - withheld - from, op.header.time_ns);
    let length = op.length;
    let Some(mut index) = scratch::take() else {
        count(Counter::NoSlot, 1);
        way.follow.missed(length + held);
        let all = offset + length - from;
        if emit::range(&op.header, from, all) {
            count(Counter::NoSlotBytes, all);
        }
        return;
    };
    let Some(slot) = scratch::slot(index) else { return };
    let base = op.source.address;
    let vectors = at_most(op.source.vectors, IOVECS);
    let segment = if vectors == 0 { length } else { 0 };
    slot.header = op.header;
    slot.header.offset = offset.wrapping_sub(held + before).wrapping_sub(withheld);
    keep_place(&mut slot.follow, &way.follow);
    slot.cursor = Cursor {
        vector: base,
        vectors,
        base: if held != 0 {
            (&raw const way.prefix) as u64
        } else {
            base
        },
        segment: if held != 0 { held } else { segment },
        left: length + held,
        filled: 0,
        skipped: before,
        held,
        gap_skipped: op.skipped,
        gap_other: before - op.skipped,
        cause: op.cause.into(),
        head: 0,
        ahead: 0,
    };
    // behind the held bytes comes the operation's own memory, as if it were the first of several segments
    slot.after_held = Vector {
        base,
        length: segment,
    };
    if slot.follow.have != 0 {
        keep_window((&raw mut slot.window).cast(), &raw const way.window);
    }
    if before != 0 {
        slot.header.flags = MISSED;
        flush(slot);
        slot.header.flags = 0;
    }
    // SAFETY: `step` has the signature that the helper calls; the context outlives the loop.
    unsafe { bpf_loop(CALL_STEPS, step as *mut c_void, (&raw mut index).cast(), 0) };
    if slot.follow.is_behind_header_of_send() && slot.cursor.head != 0 {
        // the body comes with another operation, when the header is gone
        search(slot, &mut index);
    }
    let stopped = slot.cursor.left != 0;
    if slot.cursor.filled != 0 || slot.cursor.skipped != 0 {
        flush(slot);
    }
    if stopped {
        // memory that cannot be read, a head that is none, or more pieces than one call may have: say so, and start
        // again at a frame
        let left = (offset + length).saturating_sub(slot.header.offset);
        warn!(&(), "connection {}: {} bytes not read", op.header.cookie, left);
        slot.follow.missed(slot.cursor.left);
        let offset = slot.header.offset;
        if emit::range(&op.header, offset, left) {
            count(Counter::UnreadBytes, left);
        }
    }
    keep_place(&mut way.follow, &slot.follow);
    if slot.follow.have != 0 {
        keep_window(&raw mut way.window, (&raw const slot.window).cast());
    }
    scratch::release(index);
}

/// Copies a place in the stream. By words: the compiler calls a function that goes byte by byte.
#[inline(always)]
fn keep_place(to: &mut Follow, from: &Follow) {
    let (to, from) = (
        core::ptr::from_mut(to).cast::<u64>(),
        core::ptr::from_ref(from).cast::<u64>(),
    );
    let mut i = 0;
    while i < size_of::<Follow>() / 8 {
        // SAFETY: both are places, whose size and alignment are multiples of eight bytes.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) };
        i += 1;
    }
}

/// Copies a window. A helper, because a copy by instructions costs the verifier more.
#[inline(always)]
fn keep_window(to: *mut [u8; WINDOW], from: *const [u8; WINDOW]) {
    // SAFETY: both are parts of map values, of at least this size.
    unsafe { bpf_probe_read_kernel(to.cast(), WINDOW as u32, from.cast()) };
}

/// Puts the record of the slot into the ring and begins the next one behind it.
#[inline(always)]
fn flush(slot: &mut Slot) {
    let stands_for = slot.cursor.filled + slot.cursor.skipped;
    slot.header.captured = slot.cursor.filled as u32;
    slot.header.original = stands_for as u32;
    let stored = emit::slot(slot);
    if slot.cursor.gap_skipped + slot.cursor.gap_other != 0 {
        if stored {
            count(Counter::SkippedBytes, slot.cursor.gap_skipped);
            count_at(slot.cursor.cause as u32, slot.cursor.gap_other);
        }
        slot.cursor.gap_skipped = 0;
        slot.cursor.gap_other = 0;
    }
    slot.header.offset += stands_for;
    slot.cursor.filled = 0;
    slot.cursor.skipped = 0;
    slot.cursor.head = 0;
    slot.cursor.ahead = 0;
}

/// The next bytes that are skipped, copied and looked at, as far as they are in one segment. Returns 1 to stop.
unsafe extern "C" fn step(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the slot's index on the stack of `copy`.
    let index = unsafe { &mut *context.cast::<u32>() };
    let Some(slot) = scratch::slot(*index) else {
        return 1;
    };
    if slot.cursor.left == 0 {
        return 1;
    }
    if slot.cursor.segment == 0 {
        return next_segment(slot);
    }
    let copies_bodies = COPY_BODIES.load() != 0;
    if slot.follow.skip != 0 && !copies_bodies {
        let n = least(slot.cursor.segment, u64::from(slot.follow.skip));
        slot.follow.skip -= n as u32;
        slot.cursor.skipped += n;
        slot.cursor.ahead = 0;
        advance(slot, n);
        if slot.cursor.segment == 0 {
            return 0;
        }
    }
    // bytes that are copied behind skipped ones, or find no room, begin another record
    let copies = slot.follow.copy | slot.follow.skip | u32::from(slot.follow.need) != 0;
    if copies && (slot.cursor.skipped != 0 || slot.cursor.filled > (CHUNK - WINDOW) as u64) {
        flush(slot);
    }
    if copies_bodies && slot.follow.skip != 0 {
        copy_piece(slot, slot.follow.skip, |follow, n| follow.skip -= n)
    } else if slot.follow.copy != 0 {
        copy_piece(slot, slot.follow.copy, |follow, n| follow.copy -= n)
    } else {
        look(slot, index)
    }
}

/// The next entry of the iovec array.
#[inline(always)]
fn next_segment(slot: &mut Slot) -> i64 {
    let cursor = &mut slot.cursor;
    if cursor.vectors == 0 {
        return 1;
    }
    let Some(Vector { base, length }) = read_pair(cursor.vector) else {
        return 1;
    };
    cursor.vector += 16;
    cursor.vectors -= 1;
    cursor.base = base;
    cursor.segment = least(length, cursor.left);
    0
}

/// Bytes that are copied without being looked at, at most `wanted`; `taken` is told how many they were.
#[inline(always)]
fn copy_piece(slot: &mut Slot, wanted: u32, taken: impl FnOnce(&mut Follow, u32)) -> i64 {
    let n = least(slot.cursor.segment, u64::from(wanted));
    let n = least(n, CHUNK as u64 - slot.cursor.filled);
    if !read_ahead(slot, n, AHEAD_OF_RECORD) {
        return 1;
    }
    slot.cursor.filled += n;
    taken(&mut slot.follow, n as u32);
    advance(slot, n);
    0
}

/// Sees to it that the next `wanted` bytes stand behind the record's copied ones, and perhaps some `more`. There are as many
/// in the segment, and there is room for them.
#[inline(always)]
fn read_ahead(slot: &mut Slot, wanted: u64, more: u64) -> bool {
    if slot.cursor.ahead >= wanted {
        return true;
    }
    let n = least(slot.cursor.segment, wanted + more);
    let n = least(n, CHUNK as u64 - slot.cursor.filled);
    if read(slot, n, false) {
        slot.cursor.ahead = n;
        return true;
    }
    // what is wanted may be there where what is behind it is not
    if n == wanted || !read(slot, wanted, false) {
        count(Counter::UserFault, 1);
        return false;
    }
    slot.cursor.ahead = wanted;
    true
}

/// Bytes that the next decision needs, and the decision.
#[inline(always)]
fn look(slot: &mut Slot, index: &mut u32) -> i64 {
    let need = u64::from(slot.follow.need);
    if slot.follow.have == 0 && need <= slot.cursor.segment {
        look_ahead(slot, index, need)
    } else {
        look_into_window(slot, index)
    }
}

/// Where all bytes are in one piece of memory: they are looked at where the record's next bytes are.
#[inline(always)]
fn look_ahead(slot: &mut Slot, index: &mut u32, need: u64) -> i64 {
    if !read_ahead(slot, need, AHEAD) {
        return 1;
    }
    if slot.follow.is_at_code() {
        slot.cursor.head = slot.cursor.filled + 1;
    }
    if slot.cursor.head != 0 && ahead(slot).is_some_and(|bytes| slot.follow.may_be_trace(bytes)) {
        search(slot, index);
    }
    let at = at_most(slot.cursor.filled, CHUNK as u64) as usize;
    let Some(bytes) = slot.data.get(at..).and_then(|rest| rest.first_chunk()) else {
        return 1;
    };
    let (withheld, n) = slot.follow.decide_ahead(bytes, slot.cursor.ahead);
    if withheld == Withheld::Skip && COPY_BODIES.load() == 0 {
        slot.cursor.skipped += n;
        slot.cursor.ahead = 0;
    } else {
        slot.cursor.filled += n;
    }
    step_over(slot, n);
    if slot.follow.place == place::KNOWN { 0 } else { 1 }
}

/// What stands behind the record's copied bytes.
#[inline(always)]
fn ahead(slot: &Slot) -> Option<&[u8; 2 * WINDOW]> {
    let at = at_most(slot.cursor.filled, CHUNK as u64) as usize;
    slot.data.get(at..)?.first_chunk()
}

/// Where the bytes come in several pieces, or partly came with an operation before: they are gathered in the window.
#[inline(always)]
fn look_into_window(slot: &mut Slot, index: &mut u32) -> i64 {
    slot.cursor.ahead = 0;
    let missing = slot.follow.need.saturating_sub(slot.follow.have);
    if missing != 0 {
        let n = least(slot.cursor.segment, u64::from(missing));
        let copies = !slot.follow.withholds();
        if !read(slot, n, true) {
            count(Counter::UserFault, 1);
            return 1;
        }
        if copies {
            keep_looked_at(slot, n);
        }
        slot.follow.have += n as u16;
        advance(slot, n);
        if u64::from(missing) != n {
            return 0;
        }
    }
    let withheld = slot.follow.have;
    if slot.follow.is_at_code() {
        let have = u64::from(withheld);
        slot.cursor.head = if slot.cursor.filled >= have {
            slot.cursor.filled - have + 1
        } else {
            0
        };
    }
    if slot.cursor.head != 0 && slot.follow.may_be_trace(&slot.window) {
        search(slot, index);
    }
    match slot.follow.decide(&slot.window) {
        Withheld::None => {}
        Withheld::Skip if COPY_BODIES.load() == 0 => slot.cursor.skipped += u64::from(withheld),
        Withheld::Skip | Withheld::Copy => {
            let at = at_most(slot.cursor.filled, CHUNK as u64) as usize;
            if let Some(target) = slot.data.get_mut(at..at + 12) {
                // SAFETY: from one part of a map value to another; the helper takes kernel addresses.
                unsafe {
                    bpf_probe_read_kernel(target.as_mut_ptr().cast(), 12, (&raw const slot.window).cast())
                };
                slot.cursor.filled += 12;
            }
        }
    }
    if slot.follow.place == place::KNOWN { 0 } else { 1 }
}

/// Looks into the header in the record for what its body is.
#[inline(always)]
fn search(slot: &mut Slot, index: &mut u32) {
    let slot = shared(slot);
    let head = slot.cursor.head - 1;
    slot.follow.set_trace(false);
    slot.search_end = least(slot.cursor.filled, head + SEARCH_BYTES);
    slot.searched = head & !7;
    slot.named = 0;
    let context: *mut c_void = core::ptr::from_mut(index).cast();
    // SAFETY: `scan_step` has the signature that the helper calls; the context outlives the loop.
    unsafe { bpf_loop(SCAN_TURNS, scan_step as *mut c_void, context, 0) };
    if slot.named == 0 {
        return;
    }
    slot.search = Search::START;
    slot.searched = head;
    // SAFETY: likewise.
    unsafe {
        bpf_loop(
            (SEARCH_BYTES / SEARCH_STEP) as u32,
            search_step as *mut c_void,
            context,
            0,
        )
    };
}

/// Words of a turn of the scan, and turns: one more for what stands before a multiple of eight.
const SCAN_WORDS: u64 = 8;
const SCAN_TURNS: u32 = (SEARCH_BYTES / SCAN_WORDS / 8) as u32 + 1;

/// The next words of a header, and perhaps of what stands behind it. Returns 1 to stop.
unsafe extern "C" fn scan_step(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the slot's index on the stack of `copy`.
    let Some(slot) = scratch::slot(unsafe { *context.cast::<u32>() }) else {
        return 1;
    };
    let at = slot.searched;
    // VERIFIER: the bound must be visible right before the access.
    if at >= slot.search_end || at >= CHUNK as u64 {
        return 1;
    }
    let words: *const u64 = (&raw const slot.data).cast();
    let mut i = 0;
    while i < SCAN_WORDS {
        // SAFETY: `data` is at a multiple of eight bytes, as `at` is, and goes on behind `CHUNK`.
        let word = unsafe { words.add((at / 8 + i) as usize).read() };
        if may_be_named(word) {
            slot.named = 1;
            return 1;
        }
        i += 1;
    }
    slot.searched = at + SCAN_WORDS * 8;
    0
}

/// Bytes of a turn of the search. What stands behind the header, up to the end of the turn, is what was read ahead or left from
/// another record: an end that comes late is harmless, since the name is looked for behind the name of its field.
const SEARCH_STEP: u64 = 8;

/// The next bytes of a header. Returns 1 to stop.
unsafe extern "C" fn search_step(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the slot's index on the stack of `copy`.
    let Some(slot) = scratch::slot(unsafe { *context.cast::<u32>() }) else {
        return 1;
    };
    let at = slot.searched;
    // VERIFIER: the bound must be visible right before the access.
    if at >= slot.search_end || at >= CHUNK as u64 {
        return 1;
    }
    let mut search = slot.search;
    let mut i = 0;
    while i < SEARCH_STEP {
        let Some(byte) = slot.data.get((at + i) as usize) else {
            return 1;
        };
        if search.push(*byte) {
            slot.follow.set_trace(true);
            return 1;
        }
        i += 1;
    }
    slot.search = search;
    slot.searched = at + SEARCH_STEP;
    0
}

/// Reads `n` bytes at the cursor: into the window (`looks`), or behind the record's copied bytes.
#[inline(always)]
fn read(slot: &mut Slot, n: u64, looks: bool) -> bool {
    // VERIFIER: each bound by itself, right before the call: place and length are not related to one another, so the
    // buffers are twice as long as what is used of them.
    let bound = if looks { WINDOW } else { CHUNK } as u64;
    let at = at_most(
        if looks {
            u64::from(slot.follow.have)
        } else {
            slot.cursor.filled
        },
        bound,
    );
    let n = at_most(n, bound);
    let target: *mut u8 = if looks {
        match slot.window.get_mut(at as usize..) {
            Some(t) => t.as_mut_ptr(),
            None => return false,
        }
    } else {
        match slot.data.get_mut(at as usize..) {
            Some(t) => t.as_mut_ptr(),
            None => return false,
        }
    };
    let from = slot.cursor.base as *const c_void;
    // SAFETY: the helpers check the source; the target has room for `n` bytes behind `at`.
    let result = unsafe {
        if slot.cursor.held != 0 {
            bpf_probe_read_kernel(target.cast(), n as u32, from)
        } else {
            bpf_probe_read_user(target.cast(), n as u32, from)
        }
    };
    result == 0
}

/// Copies the `n` bytes that were just read into the window behind the record's copied ones.
#[inline(always)]
fn keep_looked_at(slot: &mut Slot, n: u64) {
    let from = at_most(slot.follow.have.into(), WINDOW as u64) as usize;
    let at = at_most(slot.cursor.filled, CHUNK as u64) as usize;
    let n = at_most(n, WINDOW as u64);
    let (Some(from), Some(to)) = (slot.window.get(from..), slot.data.get_mut(at..)) else {
        return;
    };
    // SAFETY: from one part of a map value to another, both with room for `n` bytes; the helper takes kernel addresses.
    unsafe { bpf_probe_read_kernel(to.as_mut_ptr().cast(), n as u32, from.as_ptr().cast()) };
    slot.cursor.filled += n;
}

/// Moves the cursor behind `n` bytes.
#[inline(always)]
fn advance(slot: &mut Slot, n: u64) {
    slot.follow.consumed(n as u32);
    step_over(slot, n);
}

/// The same, where the place in the stream is behind them already.
#[inline(always)]
fn step_over(slot: &mut Slot, n: u64) {
    let cursor = &mut slot.cursor;
    cursor.base += n;
    cursor.segment -= n;
    cursor.left -= n;
    cursor.ahead = cursor.ahead.saturating_sub(n);
    if cursor.held != 0 && cursor.segment == 0 {
        cursor.held = 0;
        cursor.base = slot.after_held.base;
        cursor.segment = slot.after_held.length;
    }
}

#[inline(always)]
fn least(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}
