//! What a caller may choose.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use crate::{Foreign, Metadata};

/// The longest [identity](Config::identity), in bytes.
pub(crate) const MAX_IDENTITY: usize = 4096;

/// How a machine behaves. Every field has a default that suits a library.
///
/// ```
/// use std::time::Duration;
/// use tus_proto::Config;
///
/// let mut config = Config::default();
/// config.retry.attempts = Some(3);
/// config.request_size = Some(8 << 20);
/// config.metadata.insert("filename", "a.bin")?;
/// # Ok::<(), tus_proto::MetadataError>(())
/// ```
#[non_exhaustive]
#[derive(Clone)]
pub struct Config {
    /// The upload's metadata, fixed at its creation.
    pub metadata: Metadata,
    /// Fields for every request to the caller's own origin. They are all held to be secret.
    pub headers: HeaderMap,
    /// What to do when the server names a URL on another origin.
    pub foreign: Foreign,
    /// When to try again, and when to give up.
    pub retry: RetryPolicy,
    /// How long to wait for a transport and a server.
    pub timeouts: Timeouts,
    /// The most bytes that one request carries; all that remain where it is `None`, as
    /// [the specification advises](https://tus.io/protocols/resumable-upload#patch). A thousand
    /// requests that bring less than 64 KiB in sum end the upload, so less than 66 is of no use.
    pub request_size: Option<u64>,
    /// How often an upload that is gone from the server may be made anew.
    pub recreations: u32,
    /// What identifies the source, in the caller's own words: for a file its size, modification
    /// time and inode. An upload is resumed only where this is what it was. At most 4,096 bytes.
    pub identity: Option<String>,
    /// Whether, and on which answers, [`Duty::Authorize`](crate::Duty::Authorize) is asked for.
    pub authorize: Authorize,
    /// The seed of the jitter. Machines that share a server want different ones.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            metadata: Metadata::default(),
            headers: HeaderMap::new(),
            foreign: Foreign::default(),
            retry: RetryPolicy::default(),
            timeouts: Timeouts::default(),
            request_size: None,
            recreations: 1,
            identity: None,
            authorize: Authorize::Never,
            seed: 0,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("metadata", &self.metadata)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("foreign", &self.foreign)
            .field("retry", &self.retry)
            .field("timeouts", &self.timeouts)
            .field("request_size", &self.request_size)
            .field("recreations", &self.recreations)
            .field("authorize", &self.authorize)
            .finish_non_exhaustive()
    }
}

/// When to try again, and when to give up.
///
/// What is counted are failed attempts since the server last confirmed 64 KiB of new bytes, so a
/// long upload over a bad line is not ended by how often it was cut.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many failed attempts are allowed without progress; `None`: any number.
    pub attempts: Option<u32>,
    /// The wait after the first failed attempt, doubled after each further one. The first wait
    /// after a lost connection is left out.
    pub base: Duration,
    /// The longest wait that is not the server's wish.
    pub max: Duration,
    /// Give up when attempts have failed for this long without progress. Time in which the
    /// transport took bytes does not count, nor time in which the machine was not polled though it
    /// had asked for it (a laptop's sleep).
    pub no_progress: Option<Duration>,
    /// Give up this long after the first poll, whatever the progress. A wait that would last longer
    /// is not begun.
    pub deadline: Option<Duration>,
    /// The longest `Retry-After` that is waited out; after a longer one the machine ends with
    /// [`Error::ComeBackAt`](crate::Error::ComeBackAt).
    pub max_retry_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: Some(10),
            base: Duration::from_secs(1),
            max: Duration::from_secs(60),
            no_progress: None,
            deadline: None,
            max_retry_after: Duration::from_secs(5 * 60),
        }
    }
}

/// How long to wait for a transport and a server.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the transport to take the next byte, while body remains.
    pub stall: Duration,
    /// For the answer to a request without a body. An interim response grants it once more.
    pub answer: Duration,
    /// For the answer to a request with a body, after its last byte.
    pub answer_to_body: Duration,
    /// The least speed, in bytes a second, that is granted to a transport which does not report
    /// what it sends, and so cannot be seen to stall.
    pub least_speed: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            stall: Duration::from_secs(60),
            answer: Duration::from_secs(60),
            answer_to_body: Duration::from_secs(5 * 60),
            least_speed: 16 * 1024,
        }
    }
}

/// Whether fresh credentials may help against this refusal.
pub type AuthorizePredicate = dyn Fn(&Response<Bytes>) -> bool + Send + Sync;

/// On which answers fresh credentials are asked for.
///
/// Only refusals are put to the predicate: 400, 401, 403, and redirects that are not followed.
#[non_exhaustive]
#[derive(Clone, Default)]
pub enum Authorize {
    /// On none: a refusal is the end.
    #[default]
    Never,
    /// On 401.
    OnUnauthorized,
    /// Where the predicate says so. It must be a pure function of the answer.
    When(Arc<AuthorizePredicate>),
}

impl Authorize {
    pub(crate) fn wants(&self, answer: &Response<Bytes>) -> bool {
        match self {
            Self::Never => false,
            Self::OnUnauthorized => answer.status() == StatusCode::UNAUTHORIZED,
            Self::When(predicate) => predicate(answer),
        }
    }
}

impl fmt::Debug for Authorize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Never => "Never",
            Self::OnUnauthorized => "OnUnauthorized",
            Self::When(_) => "When(..)",
        })
    }
}
