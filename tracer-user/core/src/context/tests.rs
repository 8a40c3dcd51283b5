//! The order of preference, and what each property may hold.

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn properties(entries: &[(&str, &str)]) -> Properties {
    let text: String = entries
        .iter()
        .map(|(name, value)| format!("{name}\u{1}{value}\u{2}"))
        .collect();
    Properties(text.into_bytes().into())
}

fn ids(lookup: &Lookup) -> Option<(String, String)> {
    let carried = lookup.carried.as_ref()?;
    Some((
        carried.context.trace_id.to_string(),
        carried.context.span_id.to_string(),
    ))
}

#[test]
fn traceparents() {
    for (text, good) in [
        (format!("00-{TRACE}-{SPAN}-01"), true),
        (format!("00-{TRACE}-{SPAN}-00"), true),
        (format!("01-{TRACE}-{SPAN}-01-what-the-future-brings"), true),
        (format!("00-{TRACE}-{SPAN}-01-more"), false),
        (format!("ff-{TRACE}-{SPAN}-01"), false),
        (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), false),
        (format!("00-{}-{SPAN}-01", "0".repeat(32)), false),
        (format!("00-{TRACE}-{}-01", "0".repeat(16)), false),
        (format!("00-{TRACE}-{SPAN}"), false),
        (format!("00-{TRACE}-{SPAN}-é"), false),
        (String::from("00"), false),
    ] {
        let found = look_up(&properties(&[("traceparent", &text)]), &[]);
        let expected = good.then(|| (TRACE.to_owned(), SPAN.to_owned()));
        assert_eq!(ids(&found), expected, "{text}");
        assert_eq!(found.malformed, u32::from(!good), "{text}");
    }
}

#[test]
fn names_in_any_case_and_order() {
    let parent = format!("00-{TRACE}-{SPAN}-01");
    let other = format!("00-{}-{SPAN}-01", "1".repeat(32));
    let found = look_up(
        &properties(&[
            ("TAGS", "a"),
            ("TRACE_CONTEXT", &other),
            ("TraceState", "vendor=1"),
            ("TraceParent", &parent),
            ("traceparent", &other),
        ]),
        &[],
    );
    assert_eq!(ids(&found), Some((TRACE.to_owned(), SPAN.to_owned())));
    assert_eq!(found.carried.and_then(|c| c.state).as_deref(), Some("vendor=1"));
}

#[test]
fn forms_in_order_of_preference() {
    let trace = |n: u8| format!("{n:032x}");
    let forms = [
        ("traceparent", format!("00-{}-{SPAN}-01", trace(1))),
        ("TRACE_CONTEXT", format!("00-{}-{SPAN}-01", trace(2))),
        ("sw8", "1-YQ==-Yg==-0-Yw==-ZA==-ZQ==-Zg==".to_owned()),
        ("b3", format!("{}-{SPAN}", trace(4))),
        ("X-B3-TraceId", trace(5)),
        ("uber-trace-id", format!("6:{SPAN}:0:1")),
    ];
    let sw8 = crate::ids::trace_id(b"a").to_string();
    let expected = [trace(1), trace(2), sw8, trace(4), trace(5), trace(6)];
    for (first, expected) in expected.into_iter().enumerate() {
        // the least preferred come first
        let mut entries: Vec<_> = forms[first..]
            .iter()
            .rev()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        entries.push(("x-b3-spanid", SPAN));
        if first > 4 {
            entries.pop();
        }
        let found = look_up(&properties(&entries), &[]);
        assert_eq!(ids(&found).unwrap().0, expected);
        assert_eq!(found.malformed, 0);
    }
}

#[test]
fn the_state_goes_with_its_parent_only() {
    let good = format!("00-{TRACE}-{SPAN}-01");
    let found = look_up(
        &properties(&[("TRACE_CONTEXT", &good), ("tracestate", "vendor=1")]),
        &[],
    );
    assert_eq!(found.carried.and_then(|c| c.state), None);
}

#[test]
fn every_malformed_form_counts() {
    let names = [
        "traceparent",
        "TRACE_CONTEXT",
        "sw8",
        "b3",
        "X-B3-TraceId",
        "uber-trace-id",
    ];
    let found = look_up(&properties(&names.map(|name| (name, "junk"))), &[]);
    assert_eq!((found.carried, found.malformed), (None, 6));
}

#[test]
fn trace_context_stands_in_for_a_malformed_parent() {
    let good = format!("00-{TRACE}-{SPAN}-01");
    let found = look_up(
        &properties(&[("traceparent", "junk"), ("TRACE_CONTEXT", &good)]),
        &[],
    );
    assert_eq!(ids(&found), Some((TRACE.to_owned(), SPAN.to_owned())));
    assert_eq!(found.malformed, 1);
    assert_eq!(look_up(&properties(&[("TAGS", "a")]), &[]), Lookup::default());
}

#[test]
fn flags() {
    for (flags, expected) in [("00", 0), ("01", 1), ("03", 3), ("fd", 1), ("08", 0)] {
        let text = format!("00-{TRACE}-{SPAN}-{flags}");
        let found = look_up(&properties(&[("traceparent", &text)]), &[]);
        let found = found.carried.unwrap().context.flags;
        assert_eq!(found, Some(TraceFlags(expected)), "{text}");
    }
}

/// A word on sampling goes with computed ids, unless a context came too.
#[test]
fn a_word_without_a_context() {
    let said = |entries: &[(&str, &str)]| {
        let found = look_up(&properties(entries), &[]);
        (found.flags.map(TraceFlags::is_sampled), found.malformed)
    };
    let parent = format!("00-{TRACE}-{SPAN}-01");
    assert_eq!(said(&[("b3", "0")]), (Some(false), 0));
    assert_eq!(said(&[("X-B3-Sampled", "1")]), (Some(true), 0));
    assert_eq!(said(&[("b3", "0"), ("X-B3-Sampled", "1")]), (Some(false), 0));
    assert_eq!(said(&[("b3", "0"), ("traceparent", &parent)]), (None, 0));
    assert_eq!(said(&[("b3", "d"), ("traceparent", "junk")]), (Some(true), 1));
}

#[test]
fn named_properties_come_first() {
    let named = |name: &str, format| ContextProperty {
        name: name.into(),
        format,
    };
    let other = format!("00-{}-{SPAN}-01", "1".repeat(32));
    let read = |value: &str, format| {
        let entries = [("traceparent", other.as_str()), ("my-trace", value)];
        let rules = [named("absent", Format::Auto), named("My-Trace", format)];
        let found = look_up(&properties(&entries), &rules);
        (ids(&found).unwrap().0, found.malformed)
    };
    let sw8 = crate::ids::trace_id(b"a").to_string();
    for (value, format, trace) in [
        (format!("00-{TRACE}-{SPAN}-01"), Format::W3c, TRACE),
        (format!("{TRACE}-{SPAN}-1"), Format::B3, TRACE),
        (format!("{TRACE}:{SPAN}:0:1"), Format::Jaeger, TRACE),
        (
            "1-YQ==-Yg==-0-Yw==-ZA==-ZQ==-Zg==".to_owned(),
            Format::Skywalking,
            &sw8,
        ),
    ] {
        assert_eq!(read(&value, format), (trace.to_owned(), 0), "{value}");
        assert_eq!(read(&value, Format::Auto), (trace.to_owned(), 0), "{value}");
    }
    assert_eq!(read("junk", Format::Auto), ("1".repeat(32), 1));
    assert_eq!(
        read(&format!("{TRACE}:{SPAN}:0:1"), Format::W3c),
        ("1".repeat(32), 1)
    );
}
