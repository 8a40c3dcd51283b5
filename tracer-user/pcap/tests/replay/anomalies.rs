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
    assert_eq!(result.totals.lost_bytes, 0, "nothing was under way");
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

/// The packet that stands in the middle of the capture, from one end, made something that is none of the connection's.
fn with_stray(from_client: bool, flags: &'static str, away: u32, payload: &[u8]) -> Vec<Segment> {
    let mut segments = capture();
    let at = operation(&segments, 4);
    let mut stray = segments[..at]
        .iter()
        .rfind(|s| s.from_client == from_client)
        .unwrap()
        .clone();
    stray.sequence = stray.sequence.wrapping_add(away);
    stray.acknowledged = stray.acknowledged.wrapping_add(away);
    (stray.flags, stray.payload) = (flags, payload.to_vec());
    segments.insert(at, stray);
    segments
}

/// What a connection before left over, or somebody made up, and no end would take: name, flags, payload.
#[test]
fn packets_beyond_any_window_do_nothing() {
    let expected = what(&direct(&script().events));
    for (name, flags, payload) in [
        ("reset", "R", &b""[..]),
        ("data", "A", b"old"),
        ("acknowledgement", "A", b""),
        ("end", "FA", b""),
        ("SYN that is not answered", "S", b""),
    ] {
        for (from_client, away) in [(true, 1 << 30), (false, 1 << 30), (true, 0x9000_0000)] {
            let segments = with_stray(from_client, flags, away, payload);
            let result = replay_packets(&ethernet(&segments));
            assert_eq!(what(&result.spans), expected, "{name} {from_client} {away:#x}");
            assert_eq!((result.totals.lost_bytes, result.engine.gaps), (0, 0), "{name}");
            assert_eq!(result.totals.stray_packets, u64::from(flags != "S"), "{name}");
        }
    }
}

/// The capture has nothing of a connection for longer than a window, and then goes on: that is found out.
#[test]
fn a_hole_beyond_any_window_is_a_hole() {
    let mut segments = capture();
    let at = operation(&segments, 3);
    for segment in &mut segments[at..] {
        let (own, other) = if segment.from_client {
            (1 << 30, 0)
        } else {
            (0, 1 << 30)
        };
        segment.sequence = segment.sequence.wrapping_add(own);
        segment.acknowledged = segment.acknowledged.wrapping_add(other);
    }
    let result = replay_packets(&ethernet(&segments));
    assert!(result.totals.lost_bytes >= 1 << 30, "{:?}", result.totals);
    assert!(result.totals.stray_packets > 0, "{:?}", result.totals);
    assert!(ids(&result.spans).is_subset(&ids(&direct(&script().events))));
}

/// The port is used again, and of the new handshake something is missing, or nothing is there.
#[test]
fn a_new_connection_whose_handshake_is_missing() {
    for (name, kept) in [
        ("no SYN", &["SA", "A"][..]),
        ("no answer to the SYN", &["S", "A"]),
        ("none", &["A"]),
    ] {
        let mut second = capture();
        for segment in &mut second {
            segment.time += 1_000_000_000;
            segment.sequence = segment.sequence.wrapping_add(1 << 31);
            segment.acknowledged = segment.acknowledged.wrapping_add(1 << 31);
        }
        second.retain(|s| kept.contains(&s.flags) || s.flags == "FA");
        let result = replay_packets(&ethernet(&[capture(), second].concat()));
        assert_eq!(result.engine.connections, 2, "{name}");
        assert_eq!(result.spans.len(), 8, "{name}");
    }
}

/// From the first packet of one end on it is known where the other one is: what was not captured of it is lost.
#[test]
fn a_loss_before_the_first_bytes_of_a_direction() {
    let segments = capture();
    let (from, answer) = (operation(&segments, 1), operation(&segments, 2));
    let mut rest = segments[from..].to_vec();
    let gone = rest.remove(answer - from).payload.len() as u64;
    let result = replay_packets(&ethernet(&rest));
    assert!(result.totals.lost_bytes >= gone, "{:?}", result.totals);
    let first = result.spans.iter().find(|span| format!("{span:?}").contains(K1));
    let first = format!("{:?}", first.expect("its request is there").attributes);
    assert!(first.contains("rmqtrace.incomplete"), "{first}");
    assert!(!first.contains("connection_closed"), "{first}");
}

/// A keep-alive probe with a byte that was sent before the capture began.
#[test]
fn a_capture_may_begin_with_a_probe() {
    let segments = capture();
    let at = operation(&segments, 3);
    let mut probe = segments[at].clone();
    probe.sequence = probe.sequence.wrapping_sub(1);
    (probe.time, probe.payload) = (probe.time - 5_000_000, vec![0]);
    let mut probed = segments[at..].to_vec();
    probed.insert(0, probe);
    assert_eq!(
        replay_packets(&ethernet(&probed)).spans,
        replay_packets(&ethernet(&segments[at..])).spans
    );
}

/// A clock that is set back: what follows has the new time, and nothing is said to have failed.
#[test]
fn a_clock_may_be_set_back() {
    const BACK: u64 = 3_600_000_000_000;
    let segments = capture();
    for at in 4..segments.len() {
        let mut set: Vec<_> = segments.clone();
        for (index, segment) in set.iter_mut().enumerate() {
            segment.time += if index < at { 2 * BACK } else { BACK };
        }
        let result = replay_packets(&ethernet(&set));
        for span in &result.spans {
            let text = format!("{:?}", span.attributes);
            assert!(!text.contains("error.type"), "{at}: {text}");
        }
        if at == operation(&segments, 3) {
            let second = result.spans.iter().find(|span| format!("{span:?}").contains(K2));
            let second = second.expect("both of its packets have the new time");
            assert_eq!(
                (second.start.0, second.end.0),
                (BACK + 31_000_000, BACK + 41_000_000)
            );
        }
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
