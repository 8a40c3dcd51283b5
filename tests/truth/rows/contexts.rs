//! Messages that carry a trace context of their application.

use testbed::{
    Mode,
    client::Feature::{Batch, Context},
    compare::{Context::Carried, Rules},
};

use crate::row::{Drive::Plain as P, Plain, Row};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

const RULES: Rules = Rules {
    context: Carried(TRACE, PARENT),
    ..Rules::usual()
};

const fn carried(name: &'static str, send: crate::row::Arguments) -> Row {
    Row {
        name,
        needs: &[Context],
        rules: RULES,
        drive: P(Plain::new(Mode::Sync).send(send).count(5, 5)),
    }
}

pub(crate) const ROWS: &[Row] = &[
    carried(
        "carried W3C context",
        &[
            (
                "prop.traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            ),
            ("prop.tracestate", "vendor=value"),
        ],
    ),
    carried(
        "carried B3 context, one property",
        &[(
            "prop.b3",
            "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        )],
    ),
    carried(
        "carried B3 context, several properties",
        &[
            ("prop.X-B3-TraceId", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("prop.X-B3-SpanId", "00f067aa0ba902b7"),
            ("prop.X-B3-Sampled", "1"),
        ],
    ),
    carried(
        "carried Jaeger context",
        &[(
            "prop.uber-trace-id",
            "4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:1",
        )],
    ),
    carried(
        "carried RocketMQ context",
        &[(
            "prop.TRACE_CONTEXT",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )],
    ),
    Row {
        name: "carried SkyWalking context",
        needs: &[Context],
        rules: Rules {
            // What the model computes from this trace, segment and span (docs/trace-model.md §1).
            context: Carried("8d5eb67bb6c2c5a1a8876b749b177a42", "79003a77a2d54073"),
            ..Rules::usual()
        },
        drive: P(Plain::new(Mode::Sync)
            .send(&[(
                "prop.sw8",
                "1-MWY2YTZlMmY0ZTViNGI2YzhkM2E2YjFjMmQzZTRmNTAuNDIuMTczMTk4NzY1NDMyMTAwMDE=-MWY2YTZlMmY0ZTViNGI2YzhkM2E2YjFjMmQzZTRmNTAuNDIuMTczMTk4NzY1NDMyMTAwMDA=-3-b3JkZXJz-b3JkZXJzLTE=-L29yZGVycw==-MTI3LjAuMC4xOjEwOTEx",
            )])
            .count(5, 5)),
    },
    Row {
        name: "a malformed context",
        needs: &[Context],
        rules: Rules::usual(),
        drive: P(Plain::new(Mode::Sync)
            .send(&[("prop.traceparent", "00-00000000000000000000000000000000-00f067aa0ba902b7-01")])
            .count(5, 5)),
    },
    Row {
        name: "a carried context in batches",
        needs: &[Context, Batch],
        rules: RULES,
        drive: P(Plain::new(Mode::Batch)
            .send(&[(
                "prop.traceparent",
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            )])
            .count(8, 8)),
    },
];
