//! What must survive a restart.

mod text;

use std::fmt;

use http::{StatusCode, Uri};

use crate::UploadUrl;
use crate::wire::{date::Date, reference};

/// What must survive a restart so that an upload can go on: where it is, and what it is of.
///
/// The offset is not in it, for the server knows it better. Neither are headers, nor the user
/// information of a URL. It does hold the upload's whole URL, which is a capability, and the
/// endpoint's, whose query may be a secret: keep its text where only its owner can read it.
/// `Debug` leaves those out.
///
/// [`Duty::Save`](crate::Duty::Save) brings it; kept [as text](Self::to_text), it goes on in a later run:
///
/// ```
/// use tus_proto::{Checkpoint, CheckpointError, Config, Machine, Misuse, Parallel, Upload, Uploaded};
///
/// # fn drive(machine: impl Machine<Success = Uploaded>) {}
/// fn go_on(text: &str, endpoint: &str, length: u64) -> Result<(), Box<dyn std::error::Error>> {
///     let checkpoint: Checkpoint = text.parse()?;
///     let config = Config::default(); // with the identity that it had
///     if checkpoint.in_parts() {
///         drive(Parallel::resume(endpoint, checkpoint, length, &config)?);
///     } else {
///         drive(Upload::resume(endpoint, checkpoint, length, &config)?);
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub(crate) start: Start,
    pub(crate) identity: Option<String>,
    pub(crate) kept: Kept,
}

/// What is on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Whole(Saved),
    Parts(Pieces),
}

/// One upload on the server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) url: Uri,
    /// `None`: the server was not told yet.
    pub(crate) length: Option<u64>,
    pub(crate) spoke: bool,
    pub(crate) expires: Option<Date>,
    pub(crate) ending: Ending,
}

/// The parts of an upload, in order, each with its length.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pieces {
    /// Their lengths add up to a `u64`, and a part's is its upload's.
    pub(crate) parts: Vec<(u64, Option<Saved>)>,
    /// The server was, perhaps, asked to join them.
    pub(crate) joining: bool,
    /// Where they are joined.
    pub(crate) whole: Option<Uri>,
}

impl fmt::Debug for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saved")
            .field("url", &UploadUrl::from(self.url.clone()))
            .field("length", &self.length)
            .field("expires", &self.expires)
            .field("ending", &self.ending)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces")
            .field("parts", &self.parts)
            .field("joining", &self.joining)
            .field("whole", &self.whole.clone().map(UploadUrl::from))
            .finish()
    }
}

/// What the caller named. Where headers may go depends on it, and on nothing that a server said.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// Where the upload was created, and may be created again.
    Endpoint(Uri),
    /// The upload itself.
    Upload(Uri),
}

impl Start {
    pub(crate) fn uri(&self) -> &Uri {
        match self {
            Self::Endpoint(uri) | Self::Upload(uri) => uri,
        }
    }
}

impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Endpoint(_) => "Endpoint",
            Self::Upload(_) => "Upload",
        };
        write!(f, "{name}({})", reference::redacted(self.uri()))
    }
}

/// What became of the request that would have completed the upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was not sent, or did not count.
    #[default]
    Open,
    /// It was acknowledged, but without an offset: a HEAD is to show that all bytes are there.
    Acknowledged,
    /// Its last byte was handed over, and no answer is known.
    Unsettled,
    /// It was refused after its last byte was handed over.
    Refused(StatusCode, String),
}

impl Checkpoint {
    /// Where the upload was created; `None` where only its URL was ever known.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Uri> {
        match &self.start {
            Start::Endpoint(endpoint) => Some(endpoint),
            Start::Upload(_) => None,
        }
    }

    /// The upload's URL; `None` where it is in parts that were not joined yet.
    #[must_use]
    pub fn url(&self) -> Option<UploadUrl> {
        let url = match &self.kept {
            Kept::Whole(saved) => Some(&saved.url),
            Kept::Parts(pieces) => pieces.whole.as_ref(),
        };
        url.cloned().map(UploadUrl::from)
    }

    /// Whether the upload is in parts, so that [`Parallel`](crate::Parallel) goes on with it, and not
    /// [`Upload`](crate::Upload).
    #[must_use]
    pub fn in_parts(&self) -> bool {
        matches!(self.kept, Kept::Parts(_))
    }

    /// The length of the whole, in bytes, where it is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match &self.kept {
            Kept::Whole(saved) => saved.length,
            Kept::Parts(pieces) => Some(pieces.parts.iter().map(|(length, _)| length).sum()),
        }
    }

    /// What identified the source, in the caller's words ([`Config::identity`](crate::Config::identity)).
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    /// When the server will drop the unfinished upload, or the first of its parts, by its own clock.
    #[must_use]
    pub fn expires(&self) -> Option<Date> {
        match &self.kept {
            Kept::Whole(saved) => saved.expires,
            Kept::Parts(pieces) => {
                let parts = pieces.parts.iter();
                parts.filter_map(|(_, saved)| saved.as_ref()?.expires).min()
            }
        }
    }
}

impl fmt::Debug for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint")
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

/// The text is no checkpoint.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It is of a version that this release does not know, or no checkpoint at all.
    #[error("not a checkpoint of a version known here")]
    Version,
    /// It was truncated or changed.
    #[error("the checkpoint is damaged")]
    Damaged,
    /// A line is missing, doubled, out of order, or makes no sense.
    #[error("the checkpoint's line '{0}' makes no sense")]
    Line(&'static str),
}
