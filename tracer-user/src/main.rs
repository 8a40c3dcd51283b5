//! rmqtrace: see every message of Apache RocketMQ without touching the applications.
//!
//! | Module | What |
//! |---|---|
//! | [`cli`], [`config`] | flags; settings of file, environment and flags |
//! | [`capture`] | the kernel side: load, attach, read |
//! | [`run`] | the daemon: wiring, clockwork, end |
//! | [`record`] | keeps what the daemon captures |
//! | [`replay`] | capture files instead of the kernel |
//! | [`filter`] | which processes, topics and groups |
//! | [`enrich`] | who is behind a span |
//! | [`clock`] | from the kernel's clock to the wall's |
//! | [`export`] | where spans go |

mod capture;
mod cli;
mod clock;
mod config;
mod enrich;
mod export;
mod filter;
mod logging;
mod record;
mod replay;
mod run;

use std::{
    env, fs,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use mimalloc::MiMalloc;

use self::{
    capture::CaptureError,
    cli::{Cli, Command, Settings},
    config::{ConfigError, Loaded, Sources},
};

/// A span is made in one thread and freed in another, some hundred thousand a second at most: with the C library's allocator that
/// alone was a third of the daemon's time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run(settings) => load(&settings).map_err(Into::into).and_then(|loaded| {
            settle_environment();
            logging::start(&loaded.config.log, loaded.config.capture.kernel_log)?;
            run::run(loaded, None)
        }),
        Command::Record(options) => load(&options.settings)
            .map_err(Into::into)
            .and_then(|mut loaded| {
                settle_environment();
                logging::start(&loaded.config.log, loaded.config.capture.kernel_log)?;
                record::settle(&mut loaded);
                let recording = record::Options {
                    file: options.file,
                    duration: options.duration.map(|duration| duration.0),
                    max_bytes: options.max_bytes.map(|size| size.0),
                    seed: options.seed,
                };
                run::run(loaded, Some(&recording))
            }),
        Command::Replay(options) => load(&options.settings).map_err(Into::into).and_then(|loaded| {
            settle_environment();
            logging::start(&loaded.config.log, loaded.config.capture.kernel_log)?;
            replay::run(loaded, &options)
        }),
        Command::Config(settings) => load(&settings).map_err(Into::into).and_then(|loaded| {
            loaded
                .warnings
                .iter()
                .for_each(|warning| eprintln!("rmqtrace: {warning}"));
            let text = serde_saphyr::to_string(&loaded.config)?;
            match io::stdout().write_all(text.as_bytes()) {
                // the reader has seen enough, as with `| head`
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                result => Ok(result?),
            }
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rmqtrace: {error:#}");
            ExitCode::from(code(&error))
        }
    }
}

/// Takes OpenTelemetry's variables out of the environment once they are part of the settings. The exporter's crates read them
/// again, so that one of them would win over a flag that says `none` or leaves a header out.
fn settle_environment() {
    let theirs = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("OTEL_");
    let names: Vec<_> = env::vars_os().map(|(name, _)| name).filter(theirs).collect();
    for name in names {
        // SAFETY: no other thread runs yet that could read the environment.
        unsafe { env::remove_var(name) };
    }
}

/// The exit codes of docs/configuration.md.
fn code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        return 2;
    }
    if error.is::<replay::Damaged>() {
        return 5;
    }
    match error.downcast_ref::<CaptureError>() {
        Some(error) if error.is_privilege() => 3,
        Some(error) if error.is_kernel() => 4,
        _ => 1,
    }
}

fn load(settings: &Settings) -> Result<Loaded, ConfigError> {
    let file = match &settings.config {
        Some(path) => {
            let name = path.display().to_string();
            let text = fs::read_to_string(path)
                .map_err(|e| ConfigError::new(&name, format!("cannot be read: {e}")))?;
            Some((name, text))
        }
        None => None,
    };
    // a variable that is not text is none of ours
    let env = env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    config::load(&Sources {
        file,
        env,
        flags: settings.overrides(),
    })
}
