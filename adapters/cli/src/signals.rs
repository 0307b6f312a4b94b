//! Ctrl-C and SIGTERM: the first ends the upload so that it can be resumed, the second ends the
//! process.
//!
//! A signal that was ignored when the process began stays ignored: a shell without job control starts
//! `command &` so, lest Ctrl-C for another command end this one.
//!
//! SIGHUP is left alone: under `nohup` it is to stay ignored, and a process that it kills can be
//! resumed like any other.

use std::io;

use tus_driver::Canceller;

use crate::report::Reporter;

/// Watches from now on, until the process ends.
#[cfg(unix)]
pub(crate) fn watch(canceller: Canceller, reporter: Reporter) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use tus_proto::Cancel;

    use crate::exit::Status;

    let ignored = ignored();
    let watched: Vec<_> = [SIGINT, SIGTERM]
        .into_iter()
        .filter(|signal| ignored >> (signal - 1) & 1 == 0)
        .collect();
    if watched.is_empty() {
        return Ok(());
    }
    let mut signals = Signals::new(watched)?;
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let mut signals = signals.forever();
            if signals.next().is_some() {
                canceller.cancel(Cancel::Keep);
                // Whoever reads stderr may have stopped to; that must not keep the next signal waiting.
                std::thread::spawn(move || {
                    reporter.notice("stopping; press Ctrl-C again to stop at once");
                });
            }
            if signals.next().is_some() {
                // What hangs is left behind; the checkpoint has been durable since before the first byte.
                std::process::exit(Status::Interrupted.code().into());
            }
        })?;
    Ok(())
}

/// The signals that this process ignores, signal n as bit n - 1.
#[cfg(target_os = "linux")]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0)
}

/// The signals that this process ignores: only Linux tells.
#[cfg(all(unix, not(target_os = "linux")))]
fn ignored() -> u64 {
    0
}

/// Elsewhere the system ends the process, and the checkpoint is there all the same.
#[cfg(not(unix))]
pub(crate) fn watch(_: Canceller, _: Reporter) -> io::Result<()> {
    Ok(())
}
