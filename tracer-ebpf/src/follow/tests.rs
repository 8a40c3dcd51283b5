//! Follows streams whose every byte is known to be wanted or not, cut at any place.

use super::{Follow, WINDOW, Withheld, place};
use crate::group::Search;

/// What a stream should leave: each byte, and whether it is copied.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    wanted: Vec<bool>,
}

impl Stream {
    fn add(&mut self, bytes: &[u8], wanted: bool) -> &mut Stream {
        self.bytes.extend(bytes);
        self.wanted.extend(bytes.iter().map(|_| wanted));
        self
    }

    fn frame(&mut self, header: &[u8], body: &Stream) -> &mut Stream {
        let length = 4 + header.len() + body.bytes.len();
        self.add(&(length as u32).to_be_bytes(), true);
        let codec = if header.starts_with(b"{") { 0 } else { 1 << 24 };
        self.add(&(codec | header.len() as u32).to_be_bytes(), true)
            .add(header, true);
        self.bytes.extend(&body.bytes);
        self.wanted.extend(&body.wanted);
        self
    }
}

fn json(code: i32) -> Vec<u8> {
    format!(r#"{{"code":{code},"extFields":{{"topic":"T"}},"flag":0,"opaque":1}}"#).into_bytes()
}

fn binary(code: i16) -> Vec<u8> {
    let mut header = code.to_be_bytes().to_vec();
    header.extend([0, 1, 144, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    header
}

fn body(length: usize, wanted: bool) -> Stream {
    let mut out = Stream::default();
    out.add(&vec![0xee; length], wanted);
    out
}

/// Stored messages with bodies of these lengths.
fn stored(lengths: &[usize], sys_flag: u32) -> Stream {
    let mut out = Stream::default();
    for &length in lengths {
        let wide = (sys_flag & 0x10 != 0) as usize + (sys_flag & 0x20 != 0) as usize;
        let fixed = 88 + 12 * wide;
        let tail = b"\x01T\0\x03a\x01b";
        let mut record = vec![0; fixed];
        record[..4].copy_from_slice(&((fixed + length + tail.len()) as u32).to_be_bytes());
        record[4..8].copy_from_slice(&[0xda, 0xa3, 0x20, 0xa7]);
        record[36..40].copy_from_slice(&sys_flag.to_be_bytes());
        record[fixed - 4..].copy_from_slice(&(length as u32).to_be_bytes());
        let inner_batch = sys_flag & 0x80 != 0;
        out.add(&record, true)
            .add(&vec![0xee; length], inner_batch)
            .add(tail, true);
    }
    out
}

/// Batch records with bodies of these lengths, whose own length is too small by so much.
fn batch(lengths: &[usize], short: usize) -> Stream {
    let mut out = Stream::default();
    for &length in lengths {
        let tail = b"\0\x04a\x01b\x02";
        let mut record = vec![0; 20];
        record[..4].copy_from_slice(&((20 + length + tail.len() - short) as u32).to_be_bytes());
        record[16..].copy_from_slice(&(length as u32).to_be_bytes());
        out.add(&record, true)
            .add(&vec![0xee; length], false)
            .add(tail, true);
    }
    out
}

/// Does what `copy` does, without a kernel: pieces of the given sizes in turn. Returns which bytes were copied.
fn run(bytes: &[u8], sizes: &[usize]) -> Vec<bool> {
    run_ahead(bytes, sizes, 512)
}

/// The same, with at most so many bytes read ahead of those that are needed.
fn run_ahead(bytes: &[u8], sizes: &[usize], more: usize) -> Vec<bool> {
    let mut follow = Follow::START;
    let mut window = [0; 2 * WINDOW];
    let mut copied = vec![false; bytes.len()];
    let (mut at, mut turn) = (0, 0);
    while at < bytes.len() {
        let end = (at + sizes[turn % sizes.len()]).min(bytes.len());
        turn += 1;
        // where a header starts in this piece
        let (piece, mut head) = (at, None);
        let search = |follow: &mut Follow, header: &[u8]| {
            let mut search = Search::START;
            follow.set_trace(header.iter().any(|byte| search.push(*byte)));
        };
        while at < end && follow.place == place::KNOWN {
            let room = (end - at) as u32;
            let need = usize::from(follow.need);
            if follow.skip == 0 && follow.copy == 0 && follow.have == 0 && need <= end - at {
                let mut ahead = [0xee; 2 * WINDOW];
                let there = &bytes[at..end];
                let there = &there[..there.len().min(ahead.len())];
                ahead[..there.len()].copy_from_slice(there);
                if follow.is_at_code() {
                    head = Some(at);
                }
                if let Some(head) = head.filter(|_| follow.may_be_trace(&ahead)) {
                    search(&mut follow, &bytes[head..at]);
                }
                // no more than a kernel's read has brought
                let there = there.len().min(need + more) as u64;
                let (withheld, n) = follow.decide_ahead(&ahead, there);
                copied[at..at + n as usize].fill(withheld != Withheld::Skip);
                at += n as usize;
                continue;
            }
            let n = if follow.skip != 0 {
                let n = follow.skip.min(room);
                follow.skip -= n;
                n
            } else if follow.copy != 0 {
                let n = follow.copy.min(room);
                follow.copy -= n;
                copied[at..at + n as usize].fill(true);
                n
            } else {
                let n = u32::from(follow.need - follow.have).min(room);
                let have = follow.have as usize;
                window[have..have + n as usize].copy_from_slice(&bytes[at..at + n as usize]);
                if !follow.withholds() {
                    copied[at..at + n as usize].fill(true);
                }
                follow.have += n as u16;
                n
            };
            at += n as usize;
            follow.consumed(n);
            if follow.skip == 0 && follow.copy == 0 && follow.have == follow.need {
                let withheld = follow.have as usize;
                if follow.is_at_code() {
                    head = (at - withheld).checked_sub(piece).map(|from| piece + from);
                }
                if let Some(head) = head.filter(|_| follow.may_be_trace(&window)) {
                    search(&mut follow, &bytes[head..at]);
                }
                if follow.decide(&window) == Withheld::Copy {
                    copied[at - withheld..at].fill(true);
                }
            }
        }
        if follow.place == place::LOST {
            return copied;
        }
        if let Some(head) = head.filter(|_| follow.is_behind_header_of_send()) {
            search(&mut follow, &bytes[head..at]);
        }
    }
    copied
}

/// A stream with every kind of frame.
fn everything() -> Stream {
    let mut s = Stream::default();
    for header in [json, |code| binary(code as i16)] {
        s.frame(&header(310), &body(40, false));
        s.frame(&header(10), &body(5, false));
        s.frame(&header(0), &stored(&[0, 1, 300], 0));
        s.frame(&header(34), &body(100, true));
        s.frame(&header(320), &batch(&[0, 7, 90], 0));
        s.frame(&header(310), &batch(&[3], 0));
        s.frame(&header(320), &batch(&[0, 7, 90], 4));
        s.frame(&header(11), &Stream::default());
        s.frame(&header(0), &stored(&[20], 0x10));
        s.frame(&header(0), &stored(&[20, 2], 0x30));
        s.frame(&header(39), &stored(&[9], 0));
        s.frame(&header(0), &stored(&[50], 0x80));
        s.frame(&header(34), &body(7, true));
        s.frame(&header(19), &Stream::default());
    }
    s
}

#[test]
fn bodies_stay_and_everything_else_goes() {
    let stream = everything();
    assert_eq!(run(&stream.bytes, &[usize::MAX / 2]), stream.wanted);
}

#[test]
fn any_length_that_is_read_ahead_gives_the_same() {
    let stream = everything();
    for more in 0..200 {
        assert_eq!(
            run_ahead(&stream.bytes, &[usize::MAX / 2], more),
            stream.wanted,
            "{more}"
        );
        assert_eq!(
            run_ahead(&stream.bytes, &[97, 300], more),
            stream.wanted,
            "{more}"
        );
    }
}

#[test]
fn any_cut_gives_the_same() {
    let stream = everything();
    for cut in 1..stream.bytes.len() {
        assert_eq!(
            run(&stream.bytes, &[cut, usize::MAX / 2]),
            stream.wanted,
            "cut at {cut}"
        );
    }
    for size in 1..130 {
        assert_eq!(run(&stream.bytes, &[size]), stream.wanted, "pieces of {size}");
    }
    assert_eq!(run(&stream.bytes, &[4, 4, 100, 1, 13, 57]), stream.wanted);
}

/// A header of a send by this group.
fn send_of(group: &str) -> Vec<u8> {
    format!(r#"{{"code":310,"extFields":{{"a":"{group}","b":"T"}},"flag":0,"opaque":1}}"#).into_bytes()
}

const TRACE_GROUP: &str = "_INNER_TRACE_PRODUCER-cg-CONSUME-1";

#[test]
fn a_clients_own_trace_goes() {
    for start in [
        &b"SubBefore\x011"[..],
        b"SubAfter\x01RRRR",
        b"Pub\x0117582",
        b"\x78\x9crest",
    ] {
        let mut trace = Stream::default();
        trace.add(start, true).add(&[0xee; 100], true);
        let mut other = Stream::default();
        other.add(start, false).add(&[0xee; 100], false);
        let mut stream = Stream::default();
        stream
            .frame(&send_of(TRACE_GROUP), &trace)
            .frame(&send_of("orders-group"), &other)
            .frame(&send_of(TRACE_GROUP), &trace)
            .frame(&json(34), &body(30, true));
        assert_eq!(run(&stream.bytes, &[usize::MAX / 2]), stream.wanted);
        // length, header's length, header and body each for itself, as Go writes them
        let parts: Vec<usize> = [TRACE_GROUP, "orders-group", TRACE_GROUP]
            .iter()
            .flat_map(|group| [4, 4, send_of(group).len(), trace.bytes.len()])
            .collect();
        assert_eq!(run(&stream.bytes, &parts), stream.wanted);
    }
}

/// A header that is in pieces is not searched: then the trace stays, and never is another body taken for one.
#[test]
fn no_other_body_goes_however_it_is_cut() {
    let mut trace = Stream::default();
    trace.add(b"SubAfter\x01RRRR", true).add(&[0xee; 50], true);
    let mut other = Stream::default();
    other.add(b"SubAfter\x01RRRR", false).add(&[0xee; 50], false);
    let mut stream = Stream::default();
    stream
        .frame(&send_of(TRACE_GROUP), &trace)
        .frame(&send_of("orders-group"), &other)
        .frame(&send_of(TRACE_GROUP), &trace);
    for size in 1..stream.bytes.len() {
        for sizes in [&[size][..], &[size, usize::MAX / 2], &[7, size]] {
            let copied = run(&stream.bytes, sizes);
            let beyond = copied
                .iter()
                .zip(&stream.wanted)
                .filter(|(copied, wanted)| **copied && !**wanted);
            assert_eq!(beyond.count(), 0, "pieces of {sizes:?}");
        }
    }
}

#[test]
fn a_header_in_any_order_keeps_its_body() {
    let mut stream = Stream::default();
    let header = br#"{"opaque":1,"code":310,"flag":0,"extFields":{}}"#;
    stream
        .frame(header, &body(30, false))
        .frame(&json(310), &body(20, false));
    assert_eq!(run(&stream.bytes, &[9]), stream.wanted);
}

#[test]
fn a_record_that_does_not_fit_its_frame_is_skipped_to_the_end() {
    let mut broken = stored(&[10], 0);
    broken.bytes[0] = 1;
    let fixed = 88;
    broken.wanted[fixed..].fill(false);
    let mut stream = Stream::default();
    stream
        .frame(&json(0), &broken)
        .frame(&json(310), &body(20, false));
    assert_eq!(run(&stream.bytes, &[usize::MAX / 2]), stream.wanted);
}

#[test]
fn a_hole_in_a_body_harms_nothing() {
    let mut follow = Follow {
        skip: 100,
        left: 100,
        ..Follow::START
    };
    follow.missed(30);
    assert_eq!((follow.place, follow.skip, follow.left), (place::KNOWN, 70, 70));
}

#[test]
fn a_hole_in_a_frame_costs_the_rest_of_it() {
    let mut follow = Follow {
        copy: 50,
        left: 100,
        ..Follow::START
    };
    follow.missed(30);
    assert_eq!((follow.place, follow.copy, follow.skip), (place::KNOWN, 0, 70));
}

#[test]
fn a_hole_over_the_end_loses_the_place() {
    let mut follow = Follow {
        skip: 100,
        left: 100,
        ..Follow::START
    };
    follow.missed(101);
    assert_eq!(follow.place, place::LOST);
}

#[test]
fn a_head_that_is_none_loses_the_place() {
    assert!(
        run(b"GET / HTTP/1.1\r\n\r\n", &[5])
            .iter()
            .skip(8)
            .all(|copied| !copied)
    );
}

#[test]
fn what_only_clients_send_is_known() {
    let from_client = |header: Vec<u8>| {
        let mut stream = Stream::default();
        stream.frame(&header, &Stream::default());
        let mut follow = Follow::START;
        let mut window = [0; 2 * WINDOW];
        follow.decide(&window);
        window[..8].copy_from_slice(&stream.bytes[..8]);
        follow.decide(&window);
        window[..20].copy_from_slice(&stream.bytes[8..28]);
        follow.decide(&window);
        follow.from_client == 1
    };
    for code in [34, 105, 310, 361] {
        assert!(
            from_client(json(code)) && from_client(binary(code as i16)),
            "{code}"
        );
    }
    // also numbers of answers, or sent by brokers
    for code in [0, 10, 11, 19, 39, 40, 309] {
        assert!(
            !from_client(json(code)) && !from_client(binary(code as i16)),
            "{code}"
        );
    }
}
