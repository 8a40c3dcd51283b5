//! Who is behind a span: the facts of each traced process, from `/proc`, and the resource made of them.
//!
//! | Module | What |
//! |---|---|
//! | [`facts`] | what `/proc` says |
//! | [`service`], [`java`], [`script`] | the service's name |
//! | [`instrumented`] | whether it makes spans itself |
//! | [`library`] | whether it holds a RocketMQ client library |
//! | [`container`] | the container |
//! | [`resource`] | the OpenTelemetry resource, in our own terms |
//! | [`processes`] | the table of processes, and for how long one stays in it |
//! | [`replayed`] | the same for processes of capture files |
//! | [`who`] | either of them |

pub(crate) mod container;
pub(crate) mod facts;
pub(crate) mod host;
pub(crate) mod instrumented;
pub(crate) mod java;
pub(crate) mod library;
pub(crate) mod processes;
pub(crate) mod replayed;
pub(crate) mod resource;
pub(crate) mod script;
pub(crate) mod service;
pub(crate) mod who;

pub(crate) use facts::Facts;
pub(crate) use host::Host;
pub(crate) use processes::{Process, Processes};
pub(crate) use replayed::Replayed;
pub(crate) use resource::Resource;
pub(crate) use who::Who;
