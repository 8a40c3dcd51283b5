//! Trace contexts in message properties: never an invalid one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer_core::{
    context::{self, ContextProperty, Format},
    wire::Properties,
};

fuzz_target!(|bytes: &[u8]| {
    let properties = Properties(bytes.into());
    let configured = ContextProperty {
        name: "trace".into(),
        format: Format::Auto,
    };
    let lookup = context::look_up(&properties, &[configured]);
    if let Some(carried) = lookup.carried {
        assert_ne!(carried.context.trace_id.0, [0; 16]);
        assert_ne!(carried.context.span_id.0, [0; 8]);
        assert!(carried.state.is_none_or(|state| state.len() <= 512));
    }
});
