//! `tus upload`: a file goes to a server.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use etcetera::BaseStrategy as _;
use tus_driver::{Canceller, FileSource, Source as _, Store};

use crate::args::Upload;
use crate::exit::{Failure, Status};
use crate::report::Reporter;
use crate::{client, output, signals};

/// How long an upload may go without progress.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

pub(crate) fn run(args: &Upload, debug: bool) -> Result<(), Failure> {
    let metadata = args.metadata()?;
    let headers = args.connection.headers()?;
    let source = FileSource::open(&args.file).map_err(|error| Failure::of(&error))?;
    let store = Store::at(state_dir()?);
    let client = client::new(&args.connection)?;
    // From here on there is a bar, which an error would leave on the terminal.
    let reporter = Reporter::new(
        source.length().unwrap_or_default(),
        args.connection.quiet,
        debug,
    );
    let canceller = Canceller::new();
    signals::watch(canceller.clone(), reporter.clone())?;

    let mut upload = client
        .upload(&args.endpoint)
        .config(|config| {
            config.metadata = metadata;
            config.headers = headers;
            config.request_size = args.chunk_size;
            args.connection.configure(config, PATIENCE);
        })
        .on_event(|event| reporter.event(event))
        .canceller(canceller)
        .resume_from(store);
    if args.fresh {
        upload = upload.fresh();
    }
    let result = upload.send(source);
    reporter.clear();
    let done = result.map_err(|error| {
        let failure = Failure::of(&error);
        if args.fresh {
            failure.without_fresh()
        } else {
            failure
        }
    })?;
    reporter.done(&done);
    output::write_url(&done.url.expose())
}

/// Where checkpoints are kept.
fn state_dir() -> Result<PathBuf, Failure> {
    if let Some(dir) = env::var_os("TUS_STATE_DIR").filter(|dir| !dir.is_empty()) {
        return Ok(dir.into());
    }
    let strategy = etcetera::choose_base_strategy().map_err(|error| {
        Failure::new(
            Status::Checkpoint,
            format_args!("there is no folder for checkpoints ({error}); name one in TUS_STATE_DIR"),
        )
    })?;
    Ok(strategy
        .state_dir()
        .unwrap_or_else(|| strategy.data_dir())
        .join("tus"))
}
