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
use tracing_subscriber::filter::LevelFilter;

use crate::args::{Cli, Command};

/// How long a person waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let cli = Cli::parse();
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
