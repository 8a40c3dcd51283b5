//! Which spans are kept.

use serde::{Deserialize, Serialize};

use crate::config::value::{Rates, Ratio, choice};

choice! {
    /// OpenTelemetry's samplers.
    SamplerName {
        /// Everything.
        AlwaysOn = "always_on",
        /// Nothing.
        AlwaysOff = "always_off",
        /// A part of all traces.
        TraceIdRatio = "traceidratio",
        /// What was sampled upstream, and everything of which nothing was said.
        #[default]
        ParentBasedAlwaysOn = "parentbased_always_on",
        /// What was sampled upstream.
        ParentBasedAlwaysOff = "parentbased_always_off",
        /// What was sampled upstream, and a part of the traces of which nothing was said.
        ParentBasedTraceIdRatio = "parentbased_traceidratio",
    }
}

/// Which spans are kept.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sampling {
    /// The sampler.
    pub(crate) sampler: SamplerName,
    /// The part that the ratio samplers keep.
    pub(crate) ratio: Ratio,
    /// Most messages of a topic that are kept in a second, by pattern of the topic.
    pub(crate) max_messages_per_second: Rates,
}
