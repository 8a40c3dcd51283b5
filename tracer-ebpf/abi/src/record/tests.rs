//! The bytes of each record, as a little-endian machine writes them.

extern crate std;

use core::mem::offset_of;
use std::vec::Vec;

use super::*;

/// Every field has bytes of its own: 0x01…, 0x11…, and so on.
const SAMPLE: Header = Header {
    kind: Kind::DATA,
    direction: Direction::RECV,
    flags: 0x0201,
    captured: 0x1413_1211,
    cookie: 0x2827_2625_2423_2221,
    time_ns: 0x3837_3635_3433_3231,
    offset: 0x4847_4645_4443_4241,
    original: 0x5453_5251,
    elapsed_ns: 0x6463_6261,
    tgid: 0x7473_7271,
    tid: 0x8483_8281,
};

const HEADER_BYTES: &[u8] = &[
    2, 1, 0x01, 0x02, 0x11, 0x12, 0x13, 0x14, // kind, direction, flags, captured
    0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, // cookie
    0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, // time_ns
    0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, // offset
    0x51, 0x52, 0x53, 0x54, 0x61, 0x62, 0x63, 0x64, // original, elapsed_ns
    0x71, 0x72, 0x73, 0x74, 0x81, 0x82, 0x83, 0x84, // tgid, tid
];

/// `value` has these bytes, and these bytes are `value`.
#[track_caller]
fn golden<T: IntoBytes + FromBytes + Immutable + PartialEq + core::fmt::Debug>(value: T, parts: &[&[u8]]) {
    let bytes: Vec<u8> = parts.concat();
    assert_eq!(value.as_bytes(), bytes);
    assert_eq!(T::read_from_bytes(&bytes).ok(), Some(value));
    assert!(T::read_from_bytes(&bytes[1..]).is_err());
}

#[test]
#[cfg(target_endian = "little")]
fn header() {
    golden(SAMPLE, &[HEADER_BYTES]);
}

#[test]
#[cfg(target_endian = "little")]
fn open() {
    let open = Open {
        header: SAMPLE,
        local_addr: [0xa1; 16],
        remote_addr: [0xb1; 16],
        netns: 0xc4c3_c2c1,
        family: 0xd2d1,
        local_port: 10911,
        remote_port: 0xf2f1,
        role: Role::SERVER,
        from_start: 1,
        reserved: 0,
    };
    let rest = [
        0xc1, 0xc2, 0xc3, 0xc4, 0xd1, 0xd2, 0x9f, 0x2a, 0xf1, 0xf2, 2, 1, 0, 0, 0, 0,
    ];
    golden(open, &[HEADER_BYTES, &[0xa1; 16], &[0xb1; 16], &rest]);
}

#[test]
#[cfg(target_endian = "little")]
fn close() {
    let close = Close {
        header: SAMPLE,
        sent_end: 0xa8a7_a6a5_a4a3_a2a1,
        received_end: 0xb8b7_b6b5_b4b3_b2b1,
    };
    let sent = [0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8];
    let received = [0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8];
    golden(close, &[HEADER_BYTES, &sent, &received]);
}

#[test]
#[cfg(target_endian = "little")]
fn process() {
    let process = Process {
        header: SAMPLE,
        ended: 1,
        reserved: 0,
    };
    golden(process, &[HEADER_BYTES, &[1, 0, 0, 0, 0, 0, 0, 0]]);
}

#[test]
fn sizes_and_places() {
    assert_eq!(
        [
            size_of::<Header>(),
            size_of::<Open>(),
            size_of::<Close>(),
            size_of::<Process>()
        ],
        [48, 96, 64, 56]
    );
    // the ring aligns records to eight bytes; all of them can be read in place
    assert_eq!(
        [
            align_of::<Header>(),
            align_of::<Open>(),
            align_of::<Close>(),
            align_of::<Process>()
        ],
        [8; 4]
    );
    // every record starts with the header
    assert_eq!(
        [
            offset_of!(Open, header),
            offset_of!(Close, header),
            offset_of!(Process, header)
        ],
        [0; 3]
    );
}

#[test]
fn numbers_of_the_kinds() {
    assert_eq!(
        [Kind::OPEN, Kind::DATA, Kind::CLOSE, Kind::PROCESS, Kind::FOREIGN].map(|k| k.0),
        [1, 2, 3, 4, 5]
    );
    assert_eq!([Direction::SEND, Direction::RECV].map(|d| d.0), [0, 1]);
    assert_eq!(
        [Role::UNKNOWN, Role::CLIENT, Role::SERVER].map(|r| r.0),
        [0, 1, 2]
    );
}
