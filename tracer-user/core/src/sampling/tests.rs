//! Golden decisions, and what must hold for every message.

use proptest::prelude::*;

use super::*;
use crate::{
    ids,
    model::{Link, Operation, ProcessId, SpanId, SpanKind, Status, Timestamp, TraceFlags},
};

fn span(operation: Operation, context: SpanContext, links: &[SpanContext]) -> Span {
    let link = |context: &SpanContext| Link {
        context: *context,
        attributes: Vec::new(),
    };
    Span {
        context,
        parent: None,
        trace_state: None,
        operation,
        kind: SpanKind::Client,
        topic: "orders".into(),
        group: None,
        start: Timestamp(0),
        end: Timestamp(0),
        status: Status::Unset,
        attributes: Vec::new(),
        links: links.iter().map(link).collect(),
        process: ProcessId(1),
    }
}

fn own_trace(n: u64) -> SpanContext {
    ids::creation_context(&n.to_be_bytes())
}

/// Low halves of trace ids around the bounds, as the Java SDK decides them.
#[test]
fn ratios() {
    for (ratio, low, kept) in [
        (0.5, 0, true),
        (0.5, 0x3fff_ffff_ffff_ffff, true),
        (0.5, 0x4000_0000_0000_0001, false),
        // minus one: its absolute value is small
        (0.5, u64::MAX, true),
        (0.5, 0x8000_0000_0000_0001, false),
        (0.5, 0x8000_0000_0000_0000, true),
        (0.25, 0x1fff_ffff_ffff_ffff, true),
        (0.25, 0x2000_0000_0000_0001, false),
        (0.0, 0, false),
        (0.0, 0x8000_0000_0000_0000, false),
        (1.0, 0x7fff_ffff_ffff_ffff, true),
        (1e-30, 1, false),
    ] {
        let mut id = [0xaa; 16];
        id[8..].copy_from_slice(&u64::to_be_bytes(low));
        assert_eq!(
            Rule::TraceIdRatio(ratio).keeps(TraceId(id)),
            kept,
            "{ratio} {low:x}"
        );
    }
}

#[test]
fn a_carried_flag_goes_before_the_rule() {
    for (rule, parent_based, flag, kept) in [
        (Rule::AlwaysOn, true, None, true),
        (Rule::AlwaysOn, true, Some(false), false),
        (Rule::AlwaysOn, false, Some(false), true),
        (Rule::AlwaysOff, true, Some(true), true),
        (Rule::AlwaysOff, true, None, false),
        (Rule::AlwaysOff, false, Some(true), false),
        (Rule::TraceIdRatio(0.0), true, Some(true), true),
        (Rule::TraceIdRatio(1.0), true, Some(false), false),
    ] {
        let sampler = Sampler { rule, parent_based };
        let context = SpanContext {
            flags: flag.map(TraceFlags::of),
            ..own_trace(1)
        };
        let kept_span = sampler.keeps(&span(Operation::Send, context, &[]));
        assert_eq!(kept_span, kept, "{sampler:?} {flag:?}");
    }
}

prop_compose! {
    fn samplers()(which in 0..3_usize, ratio in 0.0..=1.0, parent_based: bool) -> Sampler {
        let rule = [Rule::AlwaysOn, Rule::AlwaysOff, Rule::TraceIdRatio(ratio)][which];
        Sampler { rule, parent_based }
    }
}

proptest! {
    /// Every span of a message follows one decision, in whichever trace it stands.
    #[test]
    fn all_spans_of_a_message_or_none(sampler in samplers(), key: u64, other: u64, flag: Option<bool>, id: u64) {
        let creation = SpanContext { flags: flag.map(TraceFlags::of), ..own_trace(key) };
        let child = SpanContext { span_id: SpanId(id.to_be_bytes()), ..creation };
        let kept = sampler.keeps(&span(Operation::Send, creation, &[]));
        prop_assert_eq!(sampler.keeps(&span(Operation::Commit, child, &[])), kept);
        prop_assert_eq!(sampler.keeps(&span(Operation::Process, child, &[creation])), kept);
        // under a receive span, and a later attempt
        let elsewhere = own_trace(other);
        prop_assert_eq!(sampler.keeps(&span(Operation::Process, elsewhere, &[creation])), kept);
        prop_assert_eq!(sampler.keeps(&span(Operation::Process, elsewhere, &[creation, elsewhere])), kept);
    }

    /// What concerns several messages is kept with the first of them that is.
    #[test]
    fn several_messages(sampler in samplers(), own: u64, keys in prop::collection::vec(any::<u64>(), 1..8)) {
        let contexts: Vec<_> = keys.iter().map(|key| own_trace(*key)).collect();
        let any = contexts.iter().any(|context| sampler.keeps(&span(Operation::Create, *context, &[])));
        prop_assert_eq!(sampler.keeps(&span(Operation::Send, own_trace(own), &contexts)), any);
    }

    /// A larger ratio keeps what a smaller one keeps.
    #[test]
    fn ratios_are_nested(key: u64, a in 0.0..=1.0, b in 0.0..=1.0) {
        let trace = own_trace(key).trace_id;
        let (small, large) = if a < b { (a, b) } else { (b, a) };
        prop_assert!(!Rule::TraceIdRatio(small).keeps(trace) || Rule::TraceIdRatio(large).keeps(trace));
    }
}

/// Computed ids are spread evenly enough to be sampled by.
#[test]
fn the_ratio_is_met() {
    for ratio in [0.1, 0.5, 0.9] {
        let keys = (0..20_000_u32).map(|n| format!("7F0000010A1B18B4AAC201234567{n:04X}"));
        let kept = keys
            .filter(|key| Rule::TraceIdRatio(ratio).keeps(ids::trace_id(key.as_bytes())))
            .count();
        let part = kept as f64 / 20_000.0;
        assert!((part - ratio).abs() < 0.02, "{ratio}: {part}");
    }
}
