//! Copies the bytes of one operation into records of at most one chunk.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_probe_read_user_buf, generated::bpf_loop};
use tracer_abi::{CALL_BYTES, CHUNK, Counter, Header};

use crate::{
    counters::count,
    emit, scratch,
    source::{Source, Vector, read_pair},
};

/// How far the copy has come. Lives in a scratch slot, see there.
#[repr(C)]
pub(crate) struct Cursor {
    /// Next entry of the iovec array.
    vector: u64,
    /// Entries left.
    vectors: u64,
    /// User address of the next byte.
    base: u64,
    /// Bytes left in this segment.
    segment: u64,
    /// Bytes left to copy.
    left: u64,
}

/// Copies `length` bytes from `source` into records that start as `header` does. What cannot be copied becomes a
/// declared range.
#[inline(always)]
pub(crate) fn copy(source: Source, length: u64, header: Header) {
    let limit = CALL_BYTES as u64;
    let wanted = if length < limit { length } else { limit };
    let Some(mut index) = scratch::take() else {
        count(Counter::NoSlot, 1);
        count(Counter::NoSlotBytes, length);
        emit::range(header, length);
        return;
    };
    let Some(slot) = scratch::slot(index) else { return };
    slot.header = header;
    slot.cursor = Cursor {
        vector: source.address,
        vectors: source.vectors,
        base: source.address,
        segment: if source.vectors == 0 { wanted } else { 0 },
        left: wanted,
    };
    let steps = (CALL_BYTES / CHUNK + 1) as u64 + source.vectors;
    // SAFETY: `step` has the signature that the helper calls; the context outlives the loop.
    unsafe { bpf_loop(steps as u32, step as *mut c_void, (&raw mut index).cast(), 0) };
    let copied = wanted
        - if slot.cursor.left < wanted {
            slot.cursor.left
        } else {
            wanted
        };
    if copied < length {
        count(Counter::CallLimitBytes, length - copied);
        emit::range(
            Header {
                offset: header.offset + copied,
                ..header
            },
            length - copied,
        );
    }
    scratch::release(index);
}

/// One turn of the loop: one chunk of one segment. Returns 1 to stop.
unsafe extern "C" fn step(_turn: u32, context: *mut c_void) -> i64 {
    // SAFETY: the context is the slot's index on the stack of `copy`.
    let Some(slot) = scratch::slot(unsafe { *context.cast::<u32>() }) else {
        return 1;
    };
    let cursor = &mut slot.cursor;
    if cursor.left == 0 {
        return 1;
    }
    if cursor.segment == 0 {
        if cursor.vectors == 0 {
            return 1;
        }
        let Some(Vector { base, length }) = read_pair(cursor.vector) else {
            return 1;
        };
        cursor.vector += 16;
        cursor.vectors -= 1;
        cursor.base = base;
        cursor.segment = if length < cursor.left { length } else { cursor.left };
        if cursor.segment == 0 {
            return 0;
        }
    }
    let n = if cursor.segment < CHUNK as u64 {
        cursor.segment as usize
    } else {
        CHUNK
    };
    // VERIFIER: the bound must be visible right before the call.
    let Some(target) = slot.data.get_mut(..n) else {
        return 1;
    };
    // SAFETY: the helper checks the user address.
    let copied = unsafe { bpf_probe_read_user_buf(cursor.base as *const u8, target) }.is_ok();
    cursor.base += n as u64;
    cursor.segment -= n as u64;
    cursor.left -= n as u64;
    slot.header.original = n as u32;
    slot.header.captured = if copied { n as u32 } else { 0 };
    if !copied {
        count(Counter::UserFault, 1);
        count(Counter::UserFaultBytes, n as u64);
    }
    emit::slot(slot);
    slot.header.offset += n as u64;
    0
}
