//! `tus delete`: an upload goes from a server.

use tus_driver::Canceller;

use crate::args::Delete;
use crate::exit::Failure;
use crate::report::Reporter;
use crate::{PATIENCE, client, signals};

pub(crate) fn run(args: &Delete) -> Result<(), Failure> {
    let headers = args.connection.headers()?;
    let reporter = Reporter::new(None, args.connection.quiet, true);
    let canceller = Canceller::new();
    signals::watch(canceller.clone(), reporter.clone())?;
    let terminated = client::new(&args.connection)?
        .terminate(&args.url)
        .config(|config| {
            config.headers = headers;
            args.dialect.configure(config);
            args.connection.configure(config, PATIENCE);
        })
        .on_event(|event| reporter.event(event))
        .canceller(canceller)
        .send()
        .map_err(|error| Failure::of(&error))?;
    reporter.notice(if terminated.existed {
        "deleted: the server does not have it any more"
    } else {
        "nothing to delete: the server has no upload at this URL; check it if you expected one"
    });
    Ok(())
}
