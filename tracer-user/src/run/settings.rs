//! Settings in the terms of the core.

use tracer_core::{
    context::ContextProperty,
    model::{Bounds, CapturedProperty, Naming},
    sampling::{Rule, Sampler},
};

use crate::config::{
    Config,
    schema::{SamplerName, Semconv},
};

/// `trace.context_properties`.
pub(super) fn context_properties(config: &Config) -> Vec<ContextProperty> {
    let names = config.trace.context_properties.iter();
    names
        .map(|property| ContextProperty {
            name: property.name.as_str().into(),
            format: property.format,
        })
        .collect()
}

/// `attributes.properties`.
pub(super) fn captured_properties(config: &Config) -> Vec<CapturedProperty> {
    let names = config.attributes.properties.iter();
    names.filter_map(|name| CapturedProperty::new(name)).collect()
}

/// `sampling.sampler` and `sampling.ratio`.
pub(super) fn sampler(config: &Config) -> Sampler {
    let ratio = Rule::TraceIdRatio(config.sampling.ratio.0);
    let (rule, parent_based) = match config.sampling.sampler {
        SamplerName::AlwaysOn => (Rule::AlwaysOn, false),
        SamplerName::AlwaysOff => (Rule::AlwaysOff, false),
        SamplerName::TraceIdRatio => (ratio, false),
        SamplerName::ParentBasedAlwaysOn => (Rule::AlwaysOn, true),
        SamplerName::ParentBasedAlwaysOff => (Rule::AlwaysOff, true),
        SamplerName::ParentBasedTraceIdRatio => (ratio, true),
    };
    Sampler { rule, parent_based }
}

/// `semconv`.
pub(super) fn naming(config: &Config) -> Naming {
    match config.semconv {
        Semconv::New => Naming::New,
        Semconv::Old => Naming::Old,
        Semconv::Dup => Naming::Dup,
    }
}

/// `attributes.max_…` and `spans.max_links`.
pub(super) fn bounds(config: &Config) -> Bounds {
    Bounds {
        value_length: config.attributes.max_value_length,
        elements: config.attributes.max_elements,
        attributes: config.attributes.max_per_span,
        links: config.spans.max_links,
    }
}
