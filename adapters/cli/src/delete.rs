//! `tus delete`: an upload goes from a server.

use crate::args::Delete;
use crate::client;
use crate::exit::Failure;
use crate::report::Reporter;

pub(crate) fn run(args: &Delete) -> Result<(), Failure> {
    let reporter = Reporter::new(None, args.connection.quiet, true);
    let call = client::new(&args.connection)?.terminate(&args.url);
    let terminated = client::settle(call, &args.connection, &reporter)?
        .config(|config| args.dialect.configure(config))
        .send()
        .map_err(|error| Failure::of(&error, &args.url))?;
    reporter.notice(if terminated.existed {
        "deleted: the server does not have it any more"
    } else {
        "nothing to delete: the server has no upload at this URL; check it if you expected one"
    });
    Ok(())
}
