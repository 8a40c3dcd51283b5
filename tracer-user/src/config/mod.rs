//! Settings: one schema for the file, the environment and the command line.
//!
//! | Module | What |
//! |---|---|
//! | [`schema`] | the settings and their defaults |
//! | [`keys`] | their names for environment and flags |
//! | [`value`] | how each kind of value is read |
//! | [`load`] | precedence: flag, environment, file, default |
//! | [`otel_env`] | `OTEL_EXPORTER_OTLP_*` |
//! | [`otel_sdk_env`] | the other `OTEL_*` variables |

pub(crate) mod error;
pub(crate) mod keys;
pub(crate) mod load;
pub(crate) mod otel_env;
mod otel_sdk_env;
pub(crate) mod schema;
pub(crate) mod value;

#[cfg(test)]
mod tests;

pub(crate) use error::ConfigError;
pub(crate) use load::{Loaded, Override, Sources, load};
pub(crate) use schema::Config;
