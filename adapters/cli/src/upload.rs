//! `tus upload`: files go to a server.

use std::path::PathBuf;
use std::time::Duration;
use std::{env, io};

use etcetera::BaseStrategy as _;
use http::HeaderMap;
use tus_driver::{Call, Canceller, Error, FileSource, ReaderSource, Source, Store, Uploading};
use tus_proto::{Extension, Metadata};
use tus_ureq::Client;

use crate::args::{Upload, What};
use crate::exit::{Failure, Status};
use crate::report::Reporter;
use crate::{client, output, signals};

/// How long an upload may go without progress.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How long it waits to hear what the server offers.
const BEFORE_UPLOAD: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &Upload, debug: bool) -> Result<(), Failure> {
    let what = args.what()?;
    let metadata = args.metadata()?;
    let headers = args.connection.headers()?;
    let endpoint = &args.endpoint;
    let failure = |error| Failure::of(&error, endpoint);
    let open = |path: &PathBuf| FileSource::open(path).map_err(failure);
    let files = what
        .files()
        .iter()
        .map(open)
        .collect::<Result<Vec<_>, _>>()?;
    let store = match what {
        What::Stdin => None,
        _ => Some(Store::at(state_dir()?)),
    };
    let client = client::new(&args.connection)?;
    // From here on there is a bar, which an error would leave on the terminal.
    let length = match what {
        What::Stdin => None,
        _ => Some(files.iter().filter_map(Source::length).sum()),
    };
    let reporter = Reporter::new(length, args.connection.quiet, debug);
    let canceller = Canceller::new();
    signals::watch(canceller.clone(), reporter.clone())?;
    let setting = Setting {
        args,
        metadata,
        headers,
        store,
        reporter: &reporter,
        canceller,
    };

    if !args.checksum.is_empty() {
        setting.ask_for_checksums(&client);
    }
    let result = match what {
        What::Stdin => {
            let upload = setting.bring_to(client.upload(endpoint));
            upload.send(ReaderSource::new(io::stdin()))
        }
        What::Joined(_) => setting.bring_to(client.upload_many(endpoint, files)).send(),
        What::File(_) => {
            let mut upload = setting.bring_to(client.upload(endpoint));
            if let Some(parts) = args.parallel.filter(|_| !args.concat) {
                upload = upload.parallel(usize::try_from(parts).unwrap_or(usize::MAX));
            }
            files
                .into_iter()
                .next()
                .map_or(Err(Error::Unnamed), |file| upload.send(file))
        }
    };
    reporter.clear();
    let done = result.map_err(|error| match what {
        What::Stdin => Failure::of_stream(&error, endpoint),
        _ if args.fresh => failure(error).without_fresh(),
        _ => failure(error),
    })?;
    reporter.done(&done);
    output::write_url(&done.url.expose())
}

/// What is said of an upload, whatever its source.
struct Setting<'a> {
    args: &'a Upload,
    metadata: Metadata,
    headers: HeaderMap,
    store: Option<Store>,
    reporter: &'a Reporter,
    canceller: Canceller,
}

impl<'a> Setting<'a> {
    /// Asks what the server offers, which the client remembers, and tells where nobody can know whether
    /// checksums are compared. Whatever else is wrong the upload itself says.
    fn ask_for_checksums(&self, client: &Client) {
        let offered = client
            .discover(&self.args.endpoint)
            .config(|config| {
                config.headers.clone_from(&self.headers);
                self.args.connection.configure(config, PATIENCE);
                config.retry.attempts = Some(0);
                config.retry.deadline = Some(BEFORE_UPLOAD);
            })
            .canceller(self.canceller.clone())
            .send();
        let says = match offered {
            Ok(server) => server.is_some_and(|server| server.offers(Extension::Checksum).is_some()),
            Err(Error::Upload(tus_proto::Error::Cancelled { .. })) => return,
            Err(error) => !matches!(error, Error::Upload(_)),
        };
        if !says {
            self.reporter.notice(
                "the server does not say whether it compares checksums: it may ignore them",
            );
        }
    }

    fn bring_to<S>(self, upload: Call<'a, Uploading<S>>) -> Call<'a, Uploading<S>> {
        let Self { args, reporter, .. } = self;
        let mut upload = upload
            .config(|config| {
                config.metadata = self.metadata;
                config.headers = self.headers;
                config.request_size = args.chunk_size;
                config.checksums.clone_from(&args.checksum);
                config.parts.at_once = args.parallel.unwrap_or(config.parts.at_once);
                args.dialect.configure(config);
                args.connection.configure(config, PATIENCE);
            })
            .on_event(|event| reporter.event(event))
            .canceller(self.canceller);
        if let Some(store) = self.store {
            upload = upload.resume_from(store);
        }
        if args.fresh {
            upload = upload.fresh();
        }
        upload
    }
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
