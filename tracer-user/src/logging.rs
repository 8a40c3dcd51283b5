//! The daemon's own log, on standard error: text for people or one JSON object a line.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::schema::{KernelLog, Level, Log, LogFormat};

/// Starts it. Other crates' messages appear from `debug` on; what matters of them is said in this program's words.
///
/// `kernel` is for the messages of the kernel side, which come under the name of its program.
pub(crate) fn start(log: &Log, kernel: KernelLog) -> anyhow::Result<()> {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let others = match log.level {
        Level::Trace => LevelFilter::DEBUG,
        Level::Debug => LevelFilter::WARN,
        _ => LevelFilter::OFF,
    };
    let kernel = match kernel {
        KernelLog::Off => LevelFilter::OFF,
        KernelLog::Error => LevelFilter::ERROR,
        KernelLog::Warn => LevelFilter::WARN,
        KernelLog::Info => LevelFilter::INFO,
        KernelLog::Debug => LevelFilter::DEBUG,
    };
    let filter = Targets::new()
        .with_target("rmqtrace", level)
        .with_target("tracer_ebpf", kernel)
        .with_default(others);
    // a closed standard error must not end the daemon: nothing is said about it there
    let base = || {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .log_internal_errors(false)
    };
    let layer = match log.format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            base().with_target(false).with_ansi(colours).boxed()
        }
        LogFormat::Json => base().json().boxed(),
    };
    tracing_subscriber::registry()
        .with(layer.with_filter(filter))
        .try_init()?;
    Ok(())
}
