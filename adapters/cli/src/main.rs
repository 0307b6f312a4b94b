//! The `tus` command.

mod args;
mod client;
mod delete;
mod demo;
mod exit;
mod info;
mod output;
mod report;
mod server;
mod signals;
mod text;
mod upload;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue};
use tracing_subscriber::filter::LevelFilter;

use crate::args::{Cli, Command};

/// How long a person waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| without_urls(error).exit());
    if cli.debug {
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::DEBUG)
            .with_writer(io::stderr)
            .with_ansi(false)
            // It would tell stderr of what stderr does not take, and panic.
            .log_internal_errors(false)
            .init();
    }
    let outcome = match &cli.command {
        Command::Upload(args) => upload::run(args, cli.debug),
        Command::Info(args) => info::run(args),
        Command::Delete(args) => delete::run(args),
        Command::Server(args) => server::run(args),
        Command::Demo(args) => demo::run(args, cli.debug),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::say(&format!("tus: {failure}"));
            failure.status.into()
        }
    }
}

/// A URL where none belongs is not repeated, for it may hold a password.
fn without_urls(mut error: clap::Error) -> clap::Error {
    for kind in [
        ContextKind::InvalidSubcommand,
        ContextKind::InvalidArg,
        ContextKind::InvalidValue,
    ] {
        if let Some(ContextValue::String(text)) = error.get(kind)
            && text.contains("://")
        {
            error.insert(kind, ContextValue::String("URL".into()));
        }
    }
    error
}
