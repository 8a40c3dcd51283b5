//! What happens to packets between two ends and a capture. A case changes a good capture; what may come of it stands
//! beside it.

use std::collections::BTreeSet;

use tracer_core::model::{Operation, Span};

use crate::{
    capture::*,
    support::{K1, K2, K3, Script, found, message, pull, send, sent},
};

/// Two sends with their answers, a pull with two messages, the commit of both, the end.
fn script() -> Script {
    let mut script = Script::new();
    let conn = script.connect();
    script.at(10).write(
        conn,
        send(1, "t", &format!("UNIQ_KEY={K1}")).body(vec![b'x'; 500]),
    );
    script.at(20).read(conn, sent(1, 0));
    script.at(30).write(conn, send(2, "t", &format!("UNIQ_KEY={K2}")));
    script.at(40).read(conn, sent(2, 0));
    script.at(50).write(conn, pull(3, "g", "t", 0, 0, None));
    script
        .at(60)
        .read(conn, found(3, 2, &[message("t", 0, K1), message("t", 1, K3)]));
    script.at(70).write(conn, pull(4, "g", "t", 0, 2, Some(2)));
    script.at(80).close(conn);
    script
}

/// Segments of 100 bytes.
fn capture() -> Vec<Segment> {
    segments(&script().events, 100)
}

/// What a span says but for when it was.
fn what(spans: &[Span]) -> Vec<String> {
    let what = |span: &Span| {
        let timeless = span.attributes.iter().filter(|a| !a.key.ends_with("_ms"));
        let attributes: Vec<_> = timeless.map(|a| format!("{}={:?}", a.key, a.value)).collect();
        format!(
            "{:?} {:?} {:?} {:?} {attributes:?}",
            span.context, span.parent, span.operation, span.status
        )
    };
    let mut what: Vec<_> = spans.iter().map(what).collect();
    what.sort();
    what
}

/// What each case may do to the times of spans: nothing.
#[test]
fn a_good_capture_is_the_script() {
    for most in [1, 7, 100, 1460, 60_000] {
        let result = replay_packets(&ethernet(&segments(&script().events, most)));
        assert_eq!(
            anonymous(&result.spans),
            anonymous(&direct(&script().events)),
            "{most}"
        );
        assert_eq!(result.spans.len(), 4);
        assert_eq!((result.totals.lost_bytes, result.engine.gaps), (0, 0));
    }
}

fn is_data(segment: &Segment) -> bool {
    !segment.payload.is_empty()
}

/// Name, and what it does to the segments. The same spans must come out.
#[test]
fn nothing_is_lost() {
    type Change = fn(&mut Vec<Segment>);
    let cases: [(&str, Change); 14] = [
        ("every packet twice, as on several devices", |s| {
            *s = s.iter().flat_map(|s| [s.clone(), s.clone()]).collect();
        }),
        ("everything again, later", |s| {
            let data: Vec<_> = s.iter().filter(|s| is_data(s)).cloned().collect();
            let at = s.len() - 2;
            s.splice(at..at, data);
        }),
        ("pairs of segments change places", |s| {
            s.chunks_mut(2).for_each(<[_]>::reverse)
        }),
        ("runs of segments backwards", |s| {
            for run in s[3..].chunk_by_mut(|a, b| a.from_client == b.from_client && is_data(a) && is_data(b))
            {
                run.reverse();
            }
        }),
        ("sent again with more behind it", |s| {
            let next: Vec<_> = s[1..].to_vec();
            for (segment, next) in s.iter_mut().zip(next) {
                if is_data(segment)
                    && next.sequence == segment.end()
                    && next.from_client == segment.from_client
                {
                    segment.payload.extend(next.payload);
                }
            }
        }),
        ("sent again with something before it", |s| {
            let before: Vec<_> = s.clone();
            for (segment, before) in s[1..].iter_mut().zip(before) {
                if is_data(segment)
                    && before.end() == segment.sequence
                    && before.from_client == segment.from_client
                {
                    segment.sequence = before.sequence;
                    segment.payload.splice(0..0, before.payload);
                }
            }
        }),
        ("first bytes win", |s| {
            let mut other = s[4].clone();
            other.payload.fill(b'?');
            s.insert(6, other);
        }),
        ("keep-alive probes, with and without a byte", |s| {
            for at in [s.len() - 2, 4] {
                let mut probe = s[at].clone();
                probe.sequence = probe.sequence.wrapping_sub(1);
                probe.payload = vec![0];
                s.insert(
                    at,
                    Segment {
                        payload: vec![],
                        ..probe.clone()
                    },
                );
                s.insert(at, probe);
            }
        }),
        ("acknowledgements before the data", |s| {
            for at in 4..s.len() - 2 {
                if s[at].payload.is_empty() {
                    s.swap(at, at - 1);
                }
            }
        }),
        ("the handshake behind the first data", |s| s[..4].reverse()),
        ("no answer to the SYN", |s| drop(s.remove(1))),
        ("no SYN", |s| drop(s.remove(0))),
        ("the SYN again", |s| s.insert(6, s[0].clone())),
        ("the end before the last data", |s| {
            let at = s.len() - 2;
            s.swap(at, at - 2);
        }),
    ];
    let expected = what(&direct(&script().events));
    for (name, change) in cases {
        let mut segments = capture();
        change(&mut segments);
        let result = replay_packets(&ethernet(&segments));
        assert_eq!(what(&result.spans), expected, "{name}");
        assert_eq!((result.totals.lost_bytes, result.engine.gaps), (0, 0), "{name}");
    }
}

/// The segment that carries the first byte of the script's n-th operation.
fn operation(segments: &[Segment], n: u64) -> usize {
    segments
        .iter()
        .position(|s| s.time == (n * 10 + 1) * 1_000_000 && is_data(s))
        .expect("is there")
}

/// Message ids and operations of spans.
fn ids(spans: &[Span]) -> BTreeSet<String> {
    let id = |span: &Span| {
        let id = span.attributes.iter().find(|a| a.key == "messaging.message.id");
        format!("{:?} {:?}", span.operation, id.map(|a| &a.value))
    };
    spans.iter().map(id).collect()
}

/// Whichever packet is missing: the bytes are declared lost, and no span says anything that is not true.
#[test]
fn losses_are_said_and_invent_nothing() {
    let all = ids(&direct(&script().events));
    let segments = capture();
    for at in (3..segments.len() - 2).filter(|at| is_data(&segments[*at])) {
        let mut rest = segments.clone();
        let gone = rest.remove(at);
        let result = replay_packets(&ethernet(&rest));
        assert_eq!(result.totals.lost_bytes, gone.payload.len() as u64, "{at}");
        assert_eq!(result.totals.losses, 1, "{at}");
        assert!(ids(&result.spans).is_subset(&all), "{at}: {:?}", result.spans);
        assert!(
            result.spans.len() >= 2,
            "{at}: one packet costs no more than its frame and the answer to it"
        );
    }
}

/// Of a frame whose header is there everything is known, whatever of its body the capture cut off.
#[test]
fn a_snap_length_costs_what_it_cuts() {
    let segments = segments(&script().events, 60_000);
    let all = ids(&direct(&script().events));
    for snap in (60..1200).step_by(10) {
        let cut: Vec<_> = ethernet(&segments)
            .into_iter()
            .map(|packet| packet.cut(snap))
            .collect();
        let result = replay_packets(&cut);
        assert!(ids(&result.spans).is_subset(&all), "{snap}");
        assert_eq!(result.totals.lost_bytes, 0, "{snap}: what is cut off is known");
        assert_eq!(
            result.totals.cut_bytes > 0,
            result.totals.recognised > 0 && cut.iter().any(|p| p.bytes.len() < p.length as usize),
            "{snap}"
        );
    }
    // the body of the first send begins at byte 458 of its packet
    let cut: Vec<_> = ethernet(&segments)
        .into_iter()
        .map(|packet| packet.cut(700))
        .collect();
    assert!(
        cut.iter()
            .any(|packet| packet.bytes.len() < packet.length as usize)
    );
    assert_eq!(what(&replay_packets(&cut).spans), what(&direct(&script().events)));
}

/// A capture that begins later shows what happened then, from whichever packet on.
#[test]
fn a_capture_may_begin_at_any_packet() {
    let segments = capture();
    let all = ids(&direct(&script().events));
    for from in 0..segments.len() {
        let result = replay_packets(&ethernet(&segments[from..]));
        assert!(ids(&result.spans).is_subset(&all), "{from}");
    }
    // at the second send: it and what follows is whole
    let result = replay_packets(&ethernet(&segments[operation(&segments, 3)..]));
    assert_eq!(result.spans.len(), 3, "{:?}", result.spans);
    assert_eq!(
        result
            .spans
            .iter()
            .filter(|span| span.operation == Operation::Send)
            .count(),
        1
    );
}

#[test]
fn a_reset_ends_the_connection() {
    let mut segments = capture();
    // the first send is answered by a reset
    segments.truncate(operation(&segments, 2));
    let last = segments.last().unwrap().clone();
    segments.push(Segment {
        time: 15_000_000,
        flags: "R",
        payload: vec![],
        ..last
    });
    let spans = replay_packets(&ethernet(&segments)).spans;
    let [span] = &spans[..] else {
        panic!("one span: {spans:?}")
    };
    assert!(
        span.attributes
            .iter()
            .any(|a| format!("{:?}", a.value).contains("connection_closed")),
        "{span:?}"
    );
    assert_eq!(span.end.0, 15_000_000);
}

/// The port is used again, with and without a proper end before.
#[test]
fn a_new_connection_between_the_same_addresses() {
    for ended in [true, false] {
        let mut first = capture();
        if !ended {
            first.truncate(first.len() - 2);
        }
        let mut second = capture();
        for segment in &mut second {
            segment.time += 1_000_000_000;
            segment.sequence = segment.sequence.wrapping_add(7_000_000);
            segment.acknowledged = segment.acknowledged.wrapping_add(7_000_000);
        }
        let result = replay_packets(&ethernet(&[first, second].concat()));
        assert_eq!(
            (result.totals.tcp_connections, result.engine.connections),
            (2, 2),
            "{ended}"
        );
        assert_eq!(
            result
                .spans
                .iter()
                .filter(|span| span.operation == Operation::Send)
                .count(),
            4,
            "{ended}"
        );
        assert_eq!(result.engine.gaps, 0, "{ended}");
    }
}

#[test]
fn other_protocols_are_left_alone() {
    let mut http = capture();
    for segment in http.iter_mut().filter(|s| is_data(s)) {
        segment.payload = vec![b'G'; segment.payload.len()];
    }
    for from in [0, 3] {
        let result = replay_packets(&ethernet(&http[from..]));
        assert_eq!(
            (result.engine.connections, result.totals.recognised),
            (0, 0),
            "{from}"
        );
        assert_eq!(result.totals.tcp_connections, 1, "{from}");
    }
}
