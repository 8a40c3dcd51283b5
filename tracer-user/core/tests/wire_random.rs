//! Random streams, cut, reordered and holed at random: what comes out was there. Random bytes: no panic.

mod wire_support;

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::Index};
use tracer_core::{
    model::Timestamp,
    stream::{Event, Stream},
    wire::{BatchMessage, Body, Frame, Header, Heartbeat, Properties, StoredMessage, header::Codec},
};
use wire_support::{Run, batch, binary_frame, frames, json_frame, stored, timeless};

fn properties() -> impl Strategy<Value = String> {
    "[A-F0-9]{4,32}".prop_map(|key| format!("UNIQ_KEY\u{1}{key}\u{2}TAGS\u{1}t\u{2}"))
}

/// A message body: anything, or frames and records that would be taken for real ones out of step.
fn user_body() -> impl Strategy<Value = Vec<u8>> {
    let frame = || vec(any::<u8>(), 0..50).prop_map(|body| json_frame(310, 99, 0, &[("b", "INNER")], &body));
    prop_oneof![
        4 => vec(any::<u8>(), 0..300),
        1 => vec(frame(), 1..4).prop_map(|frames| frames.concat()),
        1 => properties().prop_map(|p| stored(9, "INNER", &p, b"inner")),
    ]
}

/// A message body in which no frame starts.
fn plain_body() -> impl Strategy<Value = Vec<u8>> {
    vec(1u8.., 0..300)
}

/// A frame of any kind that a connection carries, with message bodies of the given kind.
fn a_frame<B>(body: fn() -> B) -> impl Strategy<Value = Vec<u8>>
where
    B: Strategy<Value = Vec<u8>> + 'static,
{
    let record = move || (0..1000i64, properties(), body()).prop_map(|(o, p, b)| stored(o, "T", &p, &b));
    let send = |code: i32, json: bool, p: &str, body: &[u8]| {
        let fields = [
            ("b", "Topic"),
            ("i", p),
            ("m", if code == 320 { "true" } else { "false" }),
        ];
        if json {
            json_frame(code, 7, 0, &fields, body)
        } else {
            binary_frame(code as i16, 7, 0, &fields, body)
        }
    };
    prop_oneof![
        (any::<bool>(), properties(), body()).prop_map(move |(json, p, b)| send(310, json, &p, &b)),
        (any::<bool>(), vec((properties(), body()), 1..4)).prop_map(move |(json, messages)| {
            let body: Vec<u8> = messages.iter().flat_map(|(p, b)| batch(p, b)).collect();
            send(320, json, "", &body)
        }),
        (any::<bool>(), vec(record(), 1..4)).prop_map(|(json, records)| {
            let (fields, body) = ([("nextBeginOffset", "1")], records.concat());
            if json {
                json_frame(0, 8, 1, &fields, &body)
            } else {
                binary_frame(0, 8, 1, &fields, &body)
            }
        }),
        record().prop_map(|record| json_frame(39, 9, 2, &[], &record)),
        "[a-z]{0,300}".prop_map(|body| json_frame(34, 10, 0, &[], body.as_bytes())),
        Just(binary_frame(15, 11, 2, &[("commitOffset", "5")], b"")),
        Just(json_frame(19, 12, 1, &[], b"")),
    ]
}

/// What happens to a part of the stream.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Seen,
    Elided,
    Lost,
}

/// The stream as ranges: cut at `cuts`, each part with its fate.
fn parts(length: usize, cuts: &[Index], fates: impl Iterator<Item = Fate>) -> Vec<(usize, usize, Fate)> {
    let mut at: Vec<usize> = cuts
        .iter()
        .map(|i| i.index(length + 1))
        .chain([0, length])
        .collect();
    at.sort_unstable();
    at.dedup();
    at.windows(2)
        .map(|w| (w[0], w[1]))
        .zip(fates)
        .map(|((from, to), fate)| (from, to, fate))
        .collect()
}

fn run(bytes: &[u8], parts: &[(usize, usize, Fate)]) -> Run {
    let mut run = Run::new();
    for (from, to, fate) in parts {
        match fate {
            Fate::Seen => run.push(*from, &bytes[*from..*to]),
            Fate::Elided => run.push_range(*from, to - from, &[]),
            Fate::Lost => &mut run,
        };
    }
    run.flush();
    run
}

/// `got` is `original`, or what is left of it where it says so.
fn is_part_of(got: &Frame, original: &Frame) -> bool {
    let same =
        got.header == original.header && (got.offset, got.length) == (original.offset, original.length);
    let body = match (&got.body, &original.body) {
        (got, original) if got == original => true,
        _ if !got.incomplete => false,
        (Body::Raw(got), Body::Raw(original)) => original.starts_with(got),
        (Body::Messages(got), Body::Messages(original)) => got.iter().all(|m| original.contains(m)),
        (Body::Batch(got), Body::Batch(original)) => got.iter().all(|m| original.contains(m)),
        (Body::Skipped(n), Body::Raw(_) | Body::Messages(_)) => *n as usize + 8 < original.length as usize,
        _ => false,
    };
    same && body
}

fn by_offset(bytes: &[u8]) -> BTreeMap<u64, Frame> {
    frames(bytes).into_iter().map(|f| (f.offset, f)).collect()
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![6 => Just(Fate::Seen), 1 => Just(Fate::Elided), 1 => Just(Fate::Lost)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn splits_change_nothing(list in vec(a_frame(user_body), 1..12), cuts in vec(any::<Index>(), 0..40)) {
        let bytes = list.concat();
        let run = run(&bytes, &parts(bytes.len(), &cuts, std::iter::repeat(Fate::Seen)));
        prop_assert_eq!(run.frames.len(), list.len());
        prop_assert_eq!(timeless(&run.frames), timeless(&frames(&bytes)));
        prop_assert_eq!(run.gaps, []);
    }

    #[test]
    fn late_and_repeated_ranges_change_nothing(
        list in vec(a_frame(user_body), 1..12),
        cuts in vec(any::<Index>(), 0..40),
        swaps in vec((any::<Index>(), any::<Index>()), 0..20),
        again in vec(any::<Index>(), 0..10),
    ) {
        let bytes = list.concat();
        let mut parts = parts(bytes.len(), &cuts, std::iter::repeat(Fate::Seen));
        for (a, b) in swaps {
            let (a, b) = (a.index(parts.len()), b.index(parts.len()));
            parts.swap(a, b);
        }
        for i in again {
            let (from, to, _) = parts[i.index(parts.len())];
            parts.push((from.saturating_sub(3), to, Fate::Seen));
        }
        let run = run(&bytes, &parts);
        prop_assert_eq!(timeless(&run.frames), timeless(&frames(&bytes)));
        prop_assert_eq!(run.counters().bytes as usize, bytes.len());
        prop_assert_eq!(run.gaps, []);
    }

    /// Whatever is missing, no frame comes out that was not there, and the next whole frame but one after the
    /// last hole does.
    #[test]
    fn what_comes_out_was_there(
        list in vec(a_frame(plain_body), 3..12),
        cuts in vec(any::<Index>(), 0..12),
        fates in vec(fates(), 64),
    ) {
        let bytes = list.concat();
        let parts = parts(bytes.len(), &cuts, fates.into_iter());
        let run = run(&bytes, &parts);
        let originals = by_offset(&bytes);
        let mut last = None;
        for frame in &run.frames {
            let original = originals.get(&frame.offset);
            prop_assert!(original.is_some_and(|o| is_part_of(frame, o)), "{:?} for {:?}", frame, original);
            prop_assert!(last < Some(frame.offset));
            last = Some(frame.offset);
        }
        let damaged = parts.iter().filter(|p| p.2 != Fate::Seen).map(|p| p.1).max().unwrap_or(0) as u64;
        let whole: Vec<u64> = originals.keys().copied().filter(|o| *o >= damaged).collect();
        let out: Vec<u64> = run.frames.iter().map(|f| f.offset).filter(|o| *o >= damaged).collect();
        prop_assert_eq!(out, whole);
        let counters = run.counters();
        let tail = parts.iter().rev().take_while(|p| p.2 == Fate::Lost).map(|p| p.1 - p.0).sum::<usize>();
        prop_assert_eq!((counters.bytes + counters.lost) as usize, bytes.len() - tail);
    }

    /// What is missing inside message bodies changes nothing at all, whatever they hold.
    #[test]
    fn message_bodies_are_not_needed(
        list in vec((properties(), user_body()), 1..20),
        holes in vec(any::<bool>(), 20),
        lost in any::<bool>(),
    ) {
        let mut bytes = Vec::new();
        let mut parts = Vec::new();
        for ((properties, body), hole) in list.iter().zip(holes) {
            let record = stored(1, "T", properties, body);
            let start = bytes.len();
            bytes.extend(json_frame(0, 1, 1, &[], &record));
            let body_start = bytes.len() - record.len() + 88;
            let body_end = body_start + body.len();
            let fate = match (hole, lost) {
                (false, _) => Fate::Seen,
                (true, true) => Fate::Lost,
                (true, false) => Fate::Elided,
            };
            parts.extend([
                (start, body_start, Fate::Seen),
                (body_start, body_end, fate),
                (body_end, bytes.len(), Fate::Seen),
            ]);
        }
        let run = run(&bytes, &parts);
        prop_assert_eq!(timeless(&run.frames), timeless(&frames(&bytes)));
        prop_assert_eq!(run.counters().resyncs, 0);
    }

    #[test]
    fn random_ranges_do_not_panic(
        ranges in vec((0u64..4000, 0u32..600, vec(prop_oneof![Just(0), Just(1), any::<u8>()], 0..120)), 0..40),
        start in any::<Option<u64>>(),
    ) {
        let mut stream = start.map_or_else(Stream::new, Stream::starting_at);
        for (i, (offset, length, bytes)) in ranges.iter().enumerate() {
            let base = start.unwrap_or(0).saturating_sub(2000);
            let at = Timestamp(i as u64 * 50_000_000);
            stream.push(base.saturating_add(*offset), *length, bytes, at, at);
            if stream.deadline().is_some_and(|d| d <= at) {
                stream.expire(at);
                prop_assert!(stream.deadline().is_none_or(|d| d > at));
            }
            while stream.poll().is_some() {}
        }
        stream.flush();
        while stream.poll().is_some() {}
        prop_assert_eq!(stream.deadline(), None);
    }

    /// Vectors with some bytes changed: whatever comes out, it comes without a panic, and frames do not overlap.
    #[test]
    fn changed_bytes_do_not_panic(changes in vec((any::<Index>(), any::<u8>()), 1..20)) {
        let mut bytes = wire_support::frame_vectors().concat();
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let mut run = Run::new();
        run.push(0, &bytes).flush();
        for pair in run.frames.windows(2) {
            prop_assert!(pair[0].offset + u64::from(pair[0].length) <= pair[1].offset);
        }
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..400), text in "[{}\\[\\]\",:\\\\a-f0-9 nu]{0,200}") {
        for input in [&bytes[..], text.as_bytes()] {
            for codec in [Codec::Json, Codec::Binary] {
                if let Ok(header) = Header::parse(codec, input) {
                    let _ = (format!("{header:?}"), header.properties());
                }
            }
            let _ = (StoredMessage::parse(input), BatchMessage::parse(input), Heartbeat::parse(input));
            let properties = Properties(input.into());
            let _ = (properties.iter().count(), properties.get("a"), properties.first("a"));
        }
    }

    /// A JSON header gives back what serde_json wrote, whatever text it is.
    #[test]
    fn json_text_survives(key in any::<String>(), value in any::<String>(), remark in any::<String>()) {
        let text = serde_json::json!({
            "code": 1, "opaque": 2, "flag": 0, "remark": remark, "extFields": {key.clone(): value.clone()},
        });
        let header = Header::parse(Codec::Json, text.to_string().into_bytes()).unwrap();
        prop_assert_eq!(header.field(&key), Some(value.into()));
        prop_assert_eq!(header.remark(), Some(remark.into()));
    }
}

#[test]
fn events_are_bounded_by_what_was_pushed() {
    // a frame that announces 16 MiB, again and again, each lost after its header
    let frame = json_frame(34, 1, 0, &[], &vec![b'x'; 1 << 20]);
    let mut stream = Stream::new();
    for i in 0..50u64 {
        let at = Timestamp(i);
        stream.push(i * frame.len() as u64, frame.len() as u32, &frame[..200], at, at);
        let events: Vec<Event> = std::iter::from_fn(|| stream.poll()).collect();
        assert!(matches!(&events[..], [Event::Frame(f)] if f.body == Body::Skipped(1 << 20)));
    }
}
