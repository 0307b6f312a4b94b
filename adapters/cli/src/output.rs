//! What the command is for, on stdout.

use std::io::{self, Write as _};

use crate::exit::{Failure, Status};

/// Writes the result. A reader that has gone is an error like any other, not a panic.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    to_stdout(text).map_err(|error| {
        Failure::new(
            Status::Failed,
            format_args!("the result cannot be written to stdout: {error}"),
        )
    })
}

/// Writes the URL of a finished upload. No checkpoint knows it any more, so where stdout does not
/// take it the error says it, whole.
pub(crate) fn write_url(url: &str) -> Result<(), Failure> {
    to_stdout(&format!("{url}\n")).map_err(|error| {
        Failure::new(
            Status::Failed,
            format_args!("uploaded, but the URL cannot be written to stdout ({error}): {url}"),
        )
    })
}

fn to_stdout(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
