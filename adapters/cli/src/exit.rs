//! How the command ends: the table of exit statuses, and what each error says and means.

use std::fmt::{self, Write as _};
use std::io;
use std::process::ExitCode;

use tus_driver::{Error, StoreError};
use tus_proto::{Hint, Misuse, Op, Origin, UploadUrl, Violation};

use crate::text::Line;

/// An exit status other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Failed = 1,
    Usage = 2,
    File = 3,
    Refused = 4,
    GaveUp = 5,
    Unsettled = 6,
    Protocol = 7,
    Connection = 8,
    Checkpoint = 9,
    Interrupted = 130,
}

/// Every exit status, and when it comes.
const TABLE: [(Option<Status>, &str); 11] = [
    (None, "done"),
    (Some(Status::Failed), "anything that no other status names"),
    (
        Some(Status::Usage),
        "the command line, a URL, a header or the metadata cannot be used",
    ),
    (
        Some(Status::File),
        "the file cannot be read, or is not what it was when its upload began",
    ),
    (
        Some(Status::Refused),
        "the server refused or does not offer it, or no longer has the upload or bytes of it",
    ),
    (
        Some(Status::GaveUp),
        "gave up: no connection, no answer or no progress; the same command tries again",
    ),
    (
        Some(Status::Unsettled),
        "all bytes went out, but the server does not call the upload complete, or nobody knows",
    ),
    (
        Some(Status::Protocol),
        "no tus server answers there, or it breaks the protocol, or something else writes there",
    ),
    (
        Some(Status::Connection),
        "no usable connection: a refused certificate, no TLS there, a proxy that refuses",
    ),
    (
        Some(Status::Checkpoint),
        "the checkpoint is damaged, in use by another process, or cannot be stored",
    ),
    (
        Some(Status::Interrupted),
        "interrupted (Ctrl-C or SIGTERM); the same command goes on",
    ),
];

/// The table for `--help`.
pub(crate) fn table() -> String {
    let mut text = String::from("Exit status:\n");
    for (status, meaning) in TABLE {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:>5}  {meaning}", status.map_or(0, Status::code));
    }
    text + "\nWhere the message says so, the same command goes on from where the upload ended."
}

impl Status {
    pub(crate) fn code(self) -> u8 {
        self as u8
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        status.code().into()
    }
}

/// Why the command ends without success: a status, and one line for stderr.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    message: String,
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl fmt::Display) -> Self {
        Self {
            status,
            message: Line(&message.to_string()).to_string(),
        }
    }

    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Status::Usage, message)
    }

    /// The same command would begin anew, and not go on.
    pub(crate) fn without_fresh(self) -> Self {
        let goes_on = "the same command goes on";
        Self {
            message: self
                .message
                .replace(goes_on, "the same command without --fresh goes on"),
            ..self
        }
    }

    /// What it means for the demo, of which nothing is kept: its own words alone.
    pub(crate) fn without_advice(error: &Error) -> Self {
        Self::new(Self::of(error, "").status, error)
    }

    /// What it means for an upload to `url` that is read but once, so that no later run goes on.
    pub(crate) fn of_stream(error: &Error, url: &str) -> Self {
        use tus_proto::Error as Ended;

        match error {
            Error::Upload(Ended::Cancelled { .. }) => Self::new(
                Status::Interrupted,
                "interrupted; an upload from stdin cannot go on",
            ),
            Error::Upload(Ended::Rejected { place, status, .. })
                if place.op == Op::Append && status.as_u16() == 400 =>
            {
                let what = "a larger --chunk-size, if the server wants all of it in one request";
                Self::new(Status::Refused, format_args!("{error}; {what}"))
            }
            Error::Upload(ended) => Self::of_machine(ended, url, true),
            _ => Self::of(error, url),
        }
    }

    /// What the driver's error means here: its own words, and what to type next. `url` is the one that
    /// was given.
    pub(crate) fn of(error: &Error, url: &str) -> Self {
        match error {
            Error::Upload(ended) => Self::of_machine(ended, url, false),
            Error::Misuse(
                Misuse::NotOffered(_) | Misuse::NoAlgorithm { .. } | Misuse::TooLarge { .. },
            ) => Self::new(
                Status::Refused,
                format_args!("{error} (--try-unoffered asks for it all the same)"),
            ),
            Error::Misuse(_) | Error::Header(_) => Self::usage(error),
            Error::Source { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                Self::new(
                    Status::File,
                    format_args!("{error} (tus upload ENDPOINT - < FILE streams it)"),
                )
            }
            Error::Source { .. } => Self::new(Status::File, error),
            Error::Store(StoreError::Damaged { .. } | StoreError::Mistaken { .. }) => Self::new(
                Status::Checkpoint,
                format_args!("{error} (--fresh does the former)"),
            ),
            Error::Store(StoreError::Exposed { .. }) => Self::new(
                Status::Checkpoint,
                format_args!("{error} (TUS_STATE_DIR names it)"),
            ),
            Error::Store(StoreError::Io { .. }) => Self::new(
                Status::Checkpoint,
                format_args!("{error}; TUS_STATE_DIR can name another folder for checkpoints"),
            ),
            Error::Store(_) => Self::new(Status::Checkpoint, error),
            _ => Self::new(Status::Failed, error),
        }
    }

    /// `once`: the source is gone, so the same command neither goes on nor begins anew.
    fn of_machine(error: &tus_proto::Error, url: &str, once: bool) -> Self {
        use tus_proto::Error as Ended;

        // One clause at most comes after the error's own words, which may hold advice as well.
        let again = error.resumable() && !once;
        let either = |further, anew| if again { further } else { anew };
        let unless_once = |advice| if once { "" } else { advice };
        let (status, advice) = match error {
            Ended::Cancelled { .. } if again => {
                return Self::new(
                    Status::Interrupted,
                    "interrupted; the same command goes on from here",
                );
            }
            Ended::Cancelled { .. } => {
                return Self::new(
                    Status::Interrupted,
                    "interrupted; there is nothing to go on from",
                );
            }
            Ended::SourceChanged { .. } if !once => {
                let what = "the file has changed since its upload began; --fresh uploads it as it is now, and \
                            leaves the part of the old one on the server";
                return Self::new(Status::File, what);
            }
            Ended::Source { .. } | Ended::SourceChanged { .. } => (Status::File, mended(again)),
            Ended::Rejected { place, hint, .. } => (
                Status::Refused,
                on_refusal(*hint, is_elsewhere(&place.url, url), again),
            ),
            Ended::Gone { .. } | Ended::Unrepeatable { .. } => (Status::Refused, ""),
            Ended::PartList { .. } => (Status::Usage, ""),
            Ended::Exhausted { .. } => (
                Status::GaveUp,
                unless_once(either(
                    " (the same command goes on from here)",
                    " (the same command tries again)",
                )),
            ),
            Ended::ComeBackAt { .. } => (
                Status::GaveUp,
                unless_once(either(
                    "; then the same command goes on from here",
                    "; the same command then tries again",
                )),
            ),
            Ended::CompletionUnknown { .. } => {
                (Status::Unsettled, unless_once(" (--fresh starts it anew)"))
            }
            Ended::Unfinished { .. } if once => {
                (Status::Unsettled, "; ask whoever runs the server")
            }
            Ended::Unfinished { .. } => (
                Status::Unsettled,
                "; ask whoever runs the server, or send it anew with --fresh",
            ),
            // Its words are advice already.
            Ended::Protocol {
                violation: Violation::NoLocation,
                ..
            } => (Status::Protocol, ""),
            Ended::Protocol { .. } => (
                Status::Protocol,
                either(
                    "; once that is mended, by the server or what is before it, the same command goes on from here",
                    "; check the URL, and what is between here and the server",
                ),
            ),
            Ended::Location { .. } => (
                Status::Protocol,
                either(
                    "; once whoever runs the server has mended that, the same command goes on from here",
                    "; whoever runs the server has to mend that",
                ),
            ),
            Ended::Conflict { .. } => (Status::Protocol, unless_once(" with the same command")),
            Ended::Hopeless { failure, .. } => {
                (Status::Connection, on_failure(&failure.message, again))
            }
            _ => (Status::Failed, ""),
        };
        Self::new(status, format_args!("{error}{advice}"))
    }
}

fn mended(again: bool) -> &'static str {
    if again {
        "; once that is mended, the same command goes on from here"
    } else {
        ""
    }
}

/// What to do about a refusal. `elsewhere`: it came from where no header goes; `again`: the same command
/// goes on.
fn on_refusal(hint: Option<Hint>, elsewhere: bool, again: bool) -> &'static str {
    match (hint, again) {
        (Some(Hint::Credentials | Hint::Permission), true) if elsewhere => {
            "; --header goes to the given URL's own origin alone (the same command goes on from here)"
        }
        (Some(Hint::Credentials | Hint::Permission), false) if elsewhere => {
            "; --header goes to the given URL's own origin alone"
        }
        (Some(Hint::Credentials | Hint::Permission), true) => {
            "; with credentials (--header 'Name: value') the same command goes on from here"
        }
        (Some(Hint::Credentials | Hint::Permission), false) => {
            "; --header 'Name: value' sends credentials"
        }
        (None, true) => {
            "; once whoever runs the server has mended that, the same command goes on from here"
        }
        (None, false) => "; ask whoever runs the server",
        _ => mended(again),
    }
}

/// What to do about a connection that cannot be had, in the words of ureq and rustls.
fn on_failure(words: &str, again: bool) -> &'static str {
    let unknown = words.contains("UnknownIssuer");
    let of_ca = words.contains("CaUsedAsEndEntity");
    match again {
        true if unknown => {
            "; with --ca FILE, which adds a root certificate, the same command goes on from here"
        }
        false if unknown => "; --ca FILE adds a root certificate to those that are trusted",
        true if of_ca => {
            "; that is a CA's own certificate: once the server has one made with \
             basicConstraints=CA:FALSE, the same command goes on from here"
        }
        false if of_ca => {
            "; that is a CA's own certificate: the server needs one made with basicConstraints=CA:FALSE"
        }
        _ => mended(again),
    }
}

/// Whether this is on another origin than the URL that was given.
fn is_elsewhere(place: &UploadUrl, given: &str) -> bool {
    let given = given.parse().ok().and_then(|uri| Origin::of(&uri).ok());
    given.is_some_and(|given| Origin::of(place.as_uri()) != Ok(given))
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Status::Failed, error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
