//! Streams of frames however they are cut, late, repeated or missing.

mod wire_support;

use tracer_core::{
    model::Timestamp,
    stream::{Cause, Gap, MAX_HEADER, MAX_RAW_BODY, PATIENCE, Stream},
    wire::Body,
};
use wire_support::{
    Run, batch, binary_frame, frame, frame_vectors, frames, json_frame, stored, timeless, times,
};

/// A record of the pull answer.
fn message(i: i64) -> Vec<u8> {
    stored(i, "T", &format!("UNIQ_KEY\u{1}K{i}\u{2}"), &[b'b'; 500])
}

/// A pull answer with three messages.
fn pull_answer(opaque: i32) -> Vec<u8> {
    let body: Vec<u8> = (0..3).flat_map(message).collect();
    json_frame(0, opaque, 1, &[("nextBeginOffset", "3")], &body)
}

fn send(opaque: i32, body: &[u8]) -> Vec<u8> {
    json_frame(310, opaque, 0, &[("b", "T"), ("m", "false")], body)
}

fn gap(from: usize, to: usize, why: Cause) -> Gap {
    Gap {
        from: from as u64,
        to: to as u64,
        why,
    }
}

#[test]
fn split_at_every_byte() {
    let mut streams = frame_vectors();
    streams.push(streams.concat());
    for bytes in streams {
        let whole = timeless(&frames(&bytes));
        for at in 0..=bytes.len() {
            let mut run = Run::new();
            run.push(0, &bytes[..at]).push(at, &bytes[at..]).flush();
            assert_eq!(timeless(&run.frames), whole, "split at {at} of {}", bytes.len());
            assert_eq!(run.gaps, []);
        }
    }
}

#[test]
fn byte_by_byte() {
    let bytes = frame_vectors().concat();
    let mut run = Run::new();
    for at in 0..bytes.len() {
        run.push(at, &bytes[at..=at]);
    }
    assert_eq!(timeless(&run.frames), timeless(&frames(&bytes)));
    for frame in &run.frames {
        assert_eq!(frame.start, times(frame.offset).0);
        assert_eq!(frame.end, times(frame.offset + u64::from(frame.length) - 1).1);
    }
}

#[test]
fn go_writes_a_frame_in_four_calls() {
    let bytes = wire_support::vector(19);
    let header = 8 + u32::from_be_bytes([0, bytes[5], bytes[6], bytes[7]]) as usize;
    let mut run = Run::new();
    run.push(0, &bytes[..4])
        .push(4, &bytes[4..8])
        .push(8, &bytes[8..header]);
    assert_eq!(run.frames.len(), 0);
    run.push(header, &bytes[header..]);
    assert_eq!(timeless(&run.frames), timeless(&[frame(&bytes)]));
    assert_eq!(
        (run.frames[0].start, run.frames[0].end),
        (times(0).0, times(header as u64).1)
    );
}

#[test]
fn hundreds_of_frames_in_one_range() {
    let bytes: Vec<u8> = (0..400).flat_map(|i| send(i, b"body")).collect();
    let mut run = Run::new();
    run.push(0, &bytes);
    assert_eq!(run.opaques(), (0..400).collect::<Vec<_>>());
    assert_eq!(run.counters().frames, 400);
}

#[test]
fn largest_frame() {
    // the body is elided but for its first bytes
    let body = vec![0; (16 << 20) - 200];
    let bytes = send(1, &body);
    let mut run = Run::new();
    run.push_range(0, bytes.len(), &bytes[..300])
        .push(bytes.len(), &send(2, b"x"));
    assert_eq!(run.opaques(), [1, 2]);
    assert_eq!(run.frames[0].length as usize, bytes.len());
    assert_eq!(run.frames[0].body, Body::Skipped(body.len() as u32));
    assert!(!run.frames[0].incomplete);
    assert_eq!(
        (run.counters().elided as usize, run.gaps.len()),
        (bytes.len() - 300, 0)
    );
    // and with all of it
    assert_eq!(frames(&bytes)[0].body, Body::Skipped(body.len() as u32));
}

#[test]
fn bodies_that_are_kept_have_a_limit() {
    let limit = MAX_RAW_BODY as usize;
    let body = |length: usize| frame(&json_frame(34, 1, 0, &[], &vec![b'x'; length])).body;
    assert_eq!(body(limit), Body::Raw(vec![b'x'; limit].into()));
    assert_eq!(body(limit + 1), Body::Skipped(limit as u32 + 1));
    let response = |length: usize| frame(&json_frame(0, 1, 1, &[], &vec![b'x'; length])).body;
    assert_eq!(response(91), Body::Raw(vec![b'x'; 91].into()));
    assert_eq!(response(5), Body::Raw(vec![b'x'; 5].into()));
    assert_eq!(response(limit + 1), Body::Skipped(limit as u32 + 1));
}

#[test]
fn users_bodies_are_not_kept() {
    let user = stored(1, "T", "UNIQ_KEY\u{1}K\u{2}", b"secret");
    for (code, flag) in [
        (10, "batch"),
        (310, "m"),
        (324, "batch"),
        (325, "m"),
        (320, "m"),
        (326, "m"),
    ] {
        let body = frame(&json_frame(code, 1, 0, &[(flag, "false")], &user)).body;
        assert_eq!(body, Body::Skipped(user.len() as u32), "{code}");
    }
    for bytes in [
        json_frame(39, 1, 2, &[], &user),
        json_frame(309, 1, 0, &[], &user),
    ] {
        let frame = frame(&bytes);
        assert!(
            matches!(&frame.body, Body::Messages(m) if m.len() == 1),
            "{frame:?}"
        );
        assert!(!format!("{frame:?}").contains("secret"));
    }
}

#[test]
fn batches_by_flag() {
    let body = [
        batch("UNIQ_KEY\u{1}A\u{2}", b"one"),
        batch("UNIQ_KEY\u{1}B\u{2}", b"two"),
    ]
    .concat();
    let count = |code, flag, value| match frame(&json_frame(code, 1, 0, &[(flag, value)], &body)).body {
        Body::Batch(messages) => messages.len(),
        Body::Skipped(_) => 0,
        other => panic!("{other:?}"),
    };
    assert_eq!(count(320, "m", "true"), 2);
    assert_eq!(count(320, "x", ""), 2);
    assert_eq!(count(310, "m", "true"), 2);
    assert_eq!(count(10, "batch", "true"), 2);
    // to the broker, `1` is not true
    assert_eq!(count(10, "batch", "1"), 0);
    assert_eq!(count(10, "m", "true"), 0);
}

#[test]
fn records_that_are_malformed() {
    let good = stored(1, "T", "UNIQ_KEY\u{1}A\u{2}", b"body");
    let answer = |body: &[u8]| {
        let frame = frame(&json_frame(0, 1, 1, &[], body));
        match frame.body {
            Body::Messages(messages) => (messages.len(), frame.incomplete),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(answer(&good), (1, false));
    // cut short, with something behind it, with a wrong magic in the second
    assert_eq!(answer(&[&good[..], &good[..50]].concat()), (1, true));
    assert_eq!(answer(&[&good[..], &good[..good.len() - 1]].concat()), (1, true));
    assert_eq!(answer(&[&good[..], b"x"].concat()), (1, true));
    let mut bad = good.clone();
    bad[7] = 0;
    assert_eq!(answer(&[&good[..], &bad, &good].concat()), (1, true));
    // properties that do not end where the record ends: it is dropped, the next one read
    let mut bad = good.clone();
    let at = good.len() - 11 - 2;
    bad[at..at + 2].copy_from_slice(&10u16.to_be_bytes());
    assert_eq!(answer(&[&bad[..], &good].concat()), (1, true));
    // a filler is skipped
    let mut filler = good.clone();
    filler[4..8].copy_from_slice(&0xcbd4_3194u32.to_be_bytes());
    assert_eq!(answer(&[&good[..], &filler, &good].concat()), (2, false));
    // a body length that only claims to be there
    let mut bad = good.clone();
    bad[84..88].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(answer(&[&good[..], &bad].concat()), (1, true));
}

#[test]
fn holes_in_a_pull_answer() {
    let bytes = pull_answer(1);
    let next = send(2, b"x");
    let whole = frame(&bytes);
    let Body::Messages(all) = &whole.body else {
        panic!("{whole:?}")
    };
    let record = message(0).len();
    let body = bytes.len() - 3 * record;
    // the hole, in bytes of the body; the messages that are left
    for (from, to, left) in [
        (88, 588, vec![0, 1, 2]),
        (100, 101, vec![0, 1, 2]),
        (100, 589, vec![1, 2]),
        (record - 1, record, vec![1, 2]),
        (record - 1, record + 1, vec![]),
        (record + 87, record + 88, vec![0]),
        (2 * record + 88, 3 * record, vec![0, 1]),
        (88, 3 * record, vec![]),
    ] {
        for lost in [false, true] {
            let mut run = Run::new();
            let (from, to) = (body + from, body + to);
            if lost {
                run.push(0, &bytes[..from]);
            } else {
                run.push_range(0, to, &bytes[..from]);
            }
            run.push(to, &[&bytes[to..], &next].concat()).flush();
            let what = format!("{from}..{to} of {}, lost {lost}", bytes.len());
            assert_eq!(run.opaques(), [1, 2], "{what}");
            let Body::Messages(messages) = &run.frames[0].body else {
                panic!("{what}")
            };
            let expected: Vec<_> = left.iter().map(|i| all[*i].clone()).collect();
            assert_eq!(*messages, expected, "{what}");
            assert_eq!(run.frames[0].incomplete, left.len() != 3, "{what}");
            assert_eq!(run.gaps.len(), usize::from(lost), "{what}");
        }
    }
}

#[test]
fn holes_in_a_body_that_is_kept() {
    let bytes = json_frame(34, 1, 0, &[], b"{\"clientID\":\"x\"}");
    let mut run = Run::new();
    let at = bytes.len() - 10;
    run.push_range(0, bytes.len() - 1, &bytes[..at])
        .push(bytes.len() - 1, &bytes[bytes.len() - 1..]);
    assert!(run.frames[0].incomplete);
    assert_eq!(run.frames[0].body, Body::Raw(bytes[at - 6..at].to_vec().into()));
    // in the bytes that tell what a response's body is
    let bytes = pull_answer(1);
    let mut run = Run::new();
    let start = bytes
        .windows(4)
        .position(|w| w == [0xda, 0xa3, 0x20, 0xa7])
        .unwrap()
        - 4;
    run.push_range(0, start + 6, &bytes[..start + 5])
        .push(start + 6, &bytes[start + 6..]);
    assert_eq!(run.frames[0].body, Body::Skipped((bytes.len() - start) as u32));
    assert!(run.frames[0].incomplete);
}

#[test]
fn holes_in_the_header() {
    let (a, b) = (send(1, b"body"), send(2, b"body"));
    let bytes = [&a[..], &b].concat();
    // the length is known from four bytes on
    for from in 4..a.len() - 4 {
        let mut run = Run::new();
        run.push_range(0, from + 1, &bytes[..from])
            .push(from + 1, &bytes[from + 1..])
            .flush();
        assert_eq!(run.opaques(), [2], "{from}");
        assert_eq!(run.gaps, [gap(0, a.len(), Cause::Damaged)], "{from}");
        assert_eq!((run.counters().damaged, run.counters().resyncs), (1, 0));
    }
    for from in 0..4 {
        let mut run = Run::new();
        run.push_range(0, from + 1, &bytes[..from])
            .push(from + 1, &bytes[from + 1..])
            .flush();
        assert_eq!(run.opaques(), [2], "{from}");
        assert_eq!(run.gaps, [gap(0, a.len(), Cause::Unsynchronised)], "{from}");
        assert_eq!((run.counters().damaged, run.counters().resyncs), (0, 1));
    }
}

#[test]
fn hole_over_the_end() {
    let (a, b, c) = (send(1, &[b'x'; 100]), send(2, b"body"), send(3, b"body"));
    let bytes = [&a[..], &b, &c].concat();
    for lost in [false, true] {
        // from the first body into the second frame
        let (from, to) = (a.len() - 50, a.len() + 20);
        let mut run = Run::new();
        if lost {
            run.push(0, &bytes[..from]);
        } else {
            run.push_range(0, to, &bytes[..from]);
        }
        run.push(to, &bytes[to..]).flush();
        assert_eq!(run.opaques(), [1, 3]);
        // the first one's end was not seen
        assert_eq!(run.frames[0].incomplete, lost);
        let searched = gap(a.len(), a.len() + b.len(), Cause::Unsynchronised);
        if lost {
            assert_eq!(run.gaps, [gap(from, to, Cause::Lost), searched]);
            assert_eq!(run.frames[0].end, times(to as u64).0);
        } else {
            assert_eq!(run.gaps, [searched]);
            assert_eq!(run.frames[0].end, times(0).1);
        }
        // exactly up to the end: the boundary holds
        let mut run = Run::new();
        run.push_range(0, a.len(), &bytes[..from])
            .push(a.len(), &bytes[a.len()..]);
        assert_eq!((run.opaques(), run.gaps.len()), (vec![1, 2, 3], 0));
    }
}

#[test]
fn frames_in_a_body_do_not_fool_a_stream_in_step() {
    let inner = [frame_vectors().concat(), send(77, b"x")].concat();
    for outer in [
        send(1, &inner),
        json_frame(105, 1, 0, &[], &inner),
        json_frame(0, 1, 1, &[], &stored(0, "T", "UNIQ_KEY\u{1}K\u{2}", &inner)),
    ] {
        let bytes = [&outer[..], &send(2, b"x")].concat();
        let start = outer.len() - inner.len() - 40;
        for from in (start..=outer.len() - 5).step_by(7) {
            let mut run = Run::new();
            run.push_range(0, from + 5, &bytes[..from])
                .push(from + 5, &bytes[from + 5..])
                .flush();
            assert!(
                run.opaques().iter().all(|o| [1, 2].contains(o)),
                "{from}: {:?}",
                run.opaques()
            );
            assert_eq!(run.opaques().last(), Some(&2), "{from}");
            assert_eq!(run.counters().resyncs, 0);
        }
    }
}

#[test]
fn a_search_is_not_fooled_by_one_frame_in_a_body() {
    // the head of the outer frame is lost, so its body is searched; what follows the frame in it is no frame
    let outer = send(
        1,
        &[&b"some text "[..], &send(77, b"inner"), b" and more text"].concat(),
    );
    let bytes = [&outer[..], &send(2, b"x"), &send(3, b"x")].concat();
    let lost = outer.len() - 150;
    for split in lost + 1..bytes.len() {
        let mut run = Run::new();
        run.push_range(0, lost, &[])
            .push(lost, &bytes[lost..split])
            .push(split, &bytes[split..])
            .flush();
        assert_eq!(run.opaques(), [2, 3], "split at {split}");
    }
}

#[test]
fn a_search_passes_over_what_only_looks_like_a_frame() {
    // envelopes of long frames, and headers that do not parse or never end, before a frame
    for lookalike in [
        &b"\0\0\x40\0\0\0\0\x30{\"code\": no header, and some more bytes of text to fill it"[..],
        b"\0\0\x40\0\0\0\x20\0{\"code\":1,\"opaque\":1,\"flag\":0}",
        b"\0\0\x40\0\x01\0\0\x1f\0\x0a\0\x01\xdf\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x0a\0\x09k\0\0\0\0xyz and more",
    ] {
        let bytes = [lookalike, &send(1, &[b'x'; 9000]), &send(2, b"x")].concat();
        let mut run = Run::new();
        run.push_range(0, 10, &[]).push(10, &bytes).flush();
        assert_eq!(run.opaques(), [1, 2], "{}", lookalike.escape_ascii());
        assert_eq!(run.gaps, [gap(0, 10 + lookalike.len(), Cause::Unsynchronised)]);
    }
}

#[test]
fn a_found_frame_waits_for_a_contradiction() {
    let bytes = send(1, b"x");
    let mut run = Run::new();
    run.push_range(0, 10, &[]).push(10, &bytes);
    assert_eq!(run.opaques(), [0; 0]);
    let end = run.stream.deadline().unwrap();
    assert_eq!(end, times(10).1.plus(PATIENCE));
    run.stream.expire(Timestamp(end.0 - 1));
    assert_eq!(run.poll().frames.len(), 0);
    run.stream.expire(end);
    assert_eq!(run.poll().opaques(), [1]);
    assert_eq!(run.stream.deadline(), None);
    // a frame behind it confirms at once
    let mut run = Run::new();
    run.push_range(0, 10, &[])
        .push(10, &bytes)
        .push(10 + bytes.len(), &send(2, b"x"));
    assert_eq!(run.opaques(), [1, 2]);
}

#[test]
fn a_stream_that_begins_anywhere() {
    let bytes = frame_vectors().concat();
    let whole = frames(&bytes);
    for from in 1..bytes.len() {
        let mut stream = Stream::new();
        stream.push(
            from as u64,
            (bytes.len() - from) as u32,
            &bytes[from..],
            Timestamp(0),
            Timestamp(0),
        );
        stream.flush();
        let mut run = Run {
            stream,
            frames: Vec::new(),
            gaps: Vec::new(),
        };
        run.poll();
        let expected: Vec<_> = whole
            .iter()
            .filter(|f| f.offset >= from as u64)
            .cloned()
            .collect();
        assert_eq!(timeless(&run.frames), timeless(&expected), "from {from}");
    }
}

#[test]
fn garbage_in_step_is_passed_over() {
    let bytes = [
        &send(1, b"x")[..],
        b"GARBAGE \0\0\0\x30\0\0\0\x2c{\"code\":oops",
        &send(2, b"x"),
    ]
    .concat();
    let mut run = Run::new();
    run.push(0, &bytes).flush();
    assert_eq!(run.opaques(), [1, 2]);
    assert_eq!((run.counters().malformed, run.counters().resyncs), (1, 1));
    // a header that looks right and does not parse: its length is believed
    let mut bad = send(5, b"body");
    let at = bad.windows(6).position(|w| w == b"\"flag\"").unwrap();
    bad[at + 1] = b'F';
    let bytes = [&send(1, b"x")[..], &bad, &send(2, b"x")].concat();
    let mut run = Run::new();
    run.push(0, &bytes).flush();
    assert_eq!(run.opaques(), [1, 2]);
    assert_eq!(
        (
            run.counters().malformed,
            run.counters().resyncs,
            run.counters().damaged
        ),
        (1, 0, 1)
    );
}

#[test]
fn a_header_has_a_limit() {
    let field = |n: usize| json_frame(310, 1, 0, &[("i", &"p".repeat(n))], b"");
    assert_eq!(frames(&field(MAX_HEADER - 200)).len(), 1);
    let long = field(MAX_HEADER);
    let mut run = Run::new();
    run.push(0, &[&long[..], &send(2, b"x")].concat());
    assert_eq!(run.opaques(), [2]);
    assert_eq!(run.gaps, [gap(0, long.len(), Cause::Damaged)]);
}

#[test]
fn late_and_repeated_ranges() {
    let bytes: Vec<u8> = (0..20)
        .flat_map(|i| binary_frame(11, i, 0, &[("topic", "T")], b""))
        .collect();
    let whole = frames(&bytes);
    let chunks: Vec<_> = bytes.chunks(37).enumerate().map(|(i, c)| (i * 37, c)).collect();
    let mut run = Run::new();
    for pair in chunks.chunks(2) {
        for (offset, chunk) in pair.iter().rev() {
            run.push(*offset, chunk).push(*offset, &vec![0xff; chunk.len()]);
        }
    }
    assert_eq!(timeless(&run.frames), timeless(&whole));
    assert_eq!(run.counters().repeated as usize, bytes.len());
    assert_eq!(run.stream.deadline(), None);
}

#[test]
fn counters_add_up() {
    let bytes: Vec<u8> = (0..10).flat_map(|i| send(i, &[b'x'; 100])).collect();
    let mut run = Run::new();
    run.push_range(0, 500, &bytes[..400])
        .push(600, &bytes[600..])
        .flush();
    let counters = run.counters();
    assert_eq!(counters.bytes + counters.lost, bytes.len() as u64);
    assert_eq!((counters.elided, counters.lost, counters.gaps), (100, 100, 1));
}

/// Offsets are the source's word: a frame that would end beyond the last one is no reason to panic.
#[test]
fn a_frame_at_the_end_of_all_offsets() {
    let frame = [&[0, 0, 4, 0, 0, 0, 0, 40], b"{\"code".as_slice(), &[0; 1000]].concat();
    let offset = u64::MAX - 100;
    let mut stream = Stream::new();
    stream.push(offset, frame.len() as u32, &frame, Timestamp(1), Timestamp(1));
    stream.flush();
    assert_eq!(stream.counters().frames, 0);
}

/// A frame that is found by search, and behind it what looks like one until its header is read: whether the first
/// one counts must not depend on how the bytes came.
#[test]
fn what_follows_a_found_frame_is_judged_alike_however_it_is_cut() {
    let mut broken = binary_frame(15, 2, 2, &[("topic", "orders")], b"");
    broken[35] = 0xff;
    let bytes = [
        b"not a frame".as_slice(),
        &binary_frame(15, 1, 2, &[("topic", "orders")], b""),
        &broken,
    ]
    .concat();
    let mut whole = Run::new();
    whole.push(0, &bytes).flush();
    for at in 1..bytes.len() {
        let mut cut = Run::new();
        cut.push(0, &bytes[..at]).push(at, &bytes[at..]).flush();
        assert_eq!(cut.opaques(), whole.opaques(), "cut at {at} of {}", bytes.len());
    }
}
