//! The body of HEART_BEAT (§2.6): the one frame in which a client names itself.

use super::Malformed;

/// What a client says about itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heartbeat {
    /// `clientID`.
    pub client_id: String,
    /// Producer groups.
    pub producers: Vec<String>,
    /// Consumer groups.
    pub consumers: Vec<Consumer>,
}

/// One consumer group of a client.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Consumer {
    /// Group name.
    pub group: String,
    /// `CONSUME_ACTIVELY` (pull), `CONSUME_PASSIVELY` (push) or `CONSUME_POP`.
    pub consume_type: String,
    /// `true` for `BROADCASTING`, `false` for `CLUSTERING`.
    pub broadcasting: bool,
    /// What it subscribes to.
    pub subscriptions: Vec<Subscription>,
}

/// One subscription.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Subscription {
    /// Topic.
    pub topic: String,
    /// Filter text.
    pub expression: String,
    /// `TAG` or `SQL92`.
    pub expression_type: String,
    /// Tags of a TAG filter; empty: all.
    pub tags: Vec<String>,
}

impl Heartbeat {
    /// Reads the JSON body.
    pub fn parse(body: &[u8]) -> Result<Heartbeat, Malformed> {
        let _ = body;
        Err(Malformed { what: "heartbeat", at: 0 })
    }
}
