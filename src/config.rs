//! What a caller may choose.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Response, StatusCode};

use crate::credentials::is_protocol_field;
use crate::{Algorithm, Capabilities, Cause, Date, Extension, Foreign, Metadata, Misuse, Op};

/// The longest [identity](Config::identity), in bytes.
pub(crate) const MAX_IDENTITY: usize = 4096;
/// The most parts of one upload. A header of some KiB names far fewer.
pub(crate) const MAX_PARTS: usize = 4096;
/// The size of requests where nothing else was said and they cannot be of any size.
const USUAL_REQUEST: u64 = 8 << 20;

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
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Config {
    /// The upload's metadata, fixed at its creation.
    pub metadata: Metadata,
    /// Fields for every request to the caller's own origin, and to those that the caller
    /// [trusts](Foreign::Trust). They are all held to be secret.
    pub headers: HeaderMap,
    /// What to do when the server names a URL on another origin.
    pub foreign: Foreign,
    /// When to try again, and when to give up.
    pub retry: RetryPolicy,
    /// How long to wait for a transport and a server.
    pub timeouts: Timeouts,
    /// What the server is known to offer: what [`Discover`](crate::Discover) found out. `None`: it is
    /// not known, so nothing is refused for its sake, and nothing is sent that only some servers
    /// understand unless it was asked for.
    pub server: Option<Capabilities>,
    /// Whether to send what the server says that it does not offer.
    pub try_unoffered: bool,
    /// The most bytes that one request carries. Where it is `None`: all that remain, as
    /// [the specification advises](https://tus.io/protocols/resumable-upload#patch), but 8 MiB with
    /// checksums or a source that is read as it comes. A thousand requests that bring less than 64 KiB in
    /// sum end the upload, so less than 66 is of no use.
    pub request_size: Option<u64>,
    /// The fewest bytes that one request carries, but for the last one; some hosts insist.
    pub request_min: Option<u64>,
    /// What the size of every request but the last is a multiple of; some hosts insist.
    pub request_multiple: Option<u64>,
    /// The longest source that goes with the request that creates its upload, in bytes, where the
    /// server is known to offer that
    /// ([Creation With Upload](https://tus.io/protocols/resumable-upload#creation-with-upload)). Until
    /// that request is answered there is nothing to resume. 0: none.
    pub creation_body: u64,
    /// Whether a creation with bytes waits for the server's leave to send them
    /// ([`Expect: 100-continue`](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1)), where the
    /// transport can.
    pub expect_continue: bool,
    /// Whether the source is read as it comes, though its length is known: the machine asks for its
    /// bytes before it sends them ([`Duty::Read`](crate::Duty::Read)), as it does where the length is
    /// not known. A source that proves shorter or longer ends the upload
    /// ([`Error::Source`](crate::Error::Source)). Such an upload is not in parts.
    pub stream: bool,
    /// The checksums to send with the bytes, the most wanted first; none where it is empty
    /// ([Checksum](https://tus.io/protocols/resumable-upload#checksum)). The first that the server
    /// offers is used; if it is not known what it offers, SHA-1 if it is among them, else the first.
    /// The creation then carries no bytes.
    pub checksums: Vec<Algorithm>,
    /// Whether the transport can send trailers: what it says of itself. A checksum then comes after
    /// the body, which is read once and not twice, where the server offers that.
    pub trailers: bool,
    /// Whether the upload is a part of one that is joined later
    /// ([`Concatenate`](crate::Concatenate)): it has no meaning of its own.
    pub partial: bool,
    /// How an upload in parts is cut and joined.
    pub parts: Parts,
    /// Whether PATCH and DELETE go out as POST with `X-HTTP-Method-Override`, for what lets nothing
    /// else through.
    pub method_override: bool,
    /// The field in which each request to the caller's own origin, or to one that the caller
    /// [trusts](Foreign::Trust), carries an id of its own, by which it can be found in the server's log.
    /// The ids come from the [seed](Self::seed).
    pub request_id: Option<HeaderName>,
    /// The wall clock when the machine is made. An [earlier run's](crate::Upload::resume) upload that
    /// has expired by it is not asked for but made anew, if that is allowed, its last byte was not
    /// refused, and it cannot be complete. Where the answer that an upload is gone has no `Date`, this
    /// is in its place: what had expired by then was not completed.
    pub wall_clock: Option<Date>,
    /// How often an upload that is gone from the server may be made anew.
    pub recreations: u32,
    /// What identifies the source, in the caller's own words: for a file its size, modification
    /// time and inode. An upload is resumed only where this is what it was. At most 4,096 bytes.
    pub identity: Option<String>,
    /// Whether, and on which answers, [`Duty::Authorize`](crate::Duty::Authorize) is asked for.
    pub authorize: Authorize,
    /// What ends the attempts before the retry policy does.
    pub veto: Veto,
    /// The seed of the jitter, and of the ids of requests. Machines that share a server want different ones.
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
            server: None,
            try_unoffered: false,
            request_size: None,
            request_min: None,
            request_multiple: None,
            creation_body: 1 << 20,
            expect_continue: false,
            stream: false,
            checksums: Vec::new(),
            trailers: false,
            partial: false,
            parts: Parts::default(),
            method_override: false,
            request_id: None,
            wall_clock: None,
            recreations: 1,
            identity: None,
            authorize: Authorize::Never,
            veto: Veto::default(),
            seed: 0,
        }
    }
}

impl Config {
    /// Whether the server may be asked for this.
    pub(crate) fn needs(&self, extension: Extension) -> Result<(), Misuse> {
        if self.offered(extension) == Some(false) && !self.try_unoffered {
            return Err(Misuse::NotOffered(extension));
        }
        Ok(())
    }

    /// Whether the server is known to have this, or not to have it.
    pub(crate) fn offered(&self, extension: Extension) -> Option<bool> {
        self.server.as_ref()?.offers(extension)
    }

    /// Whether an upload of this length may be made.
    pub(crate) fn fits(&self, length: u64) -> Result<(), Misuse> {
        match self.server.as_ref().and_then(|server| server.max_size) {
            Some(limit) if length > limit && !self.try_unoffered => {
                Err(Misuse::TooLarge { length, limit })
            }
            _ => Ok(()),
        }
    }

    /// The checksum that goes with the bytes, if one does.
    pub(crate) fn checksum(&self) -> Result<Option<Algorithm>, Misuse> {
        let Some(first) = self.checksums.first() else {
            return Ok(None);
        };
        self.needs(Extension::Checksum)?;
        let offered = self
            .server
            .as_ref()
            .map(|server| &server.checksum_algorithms);
        match offered.filter(|offered| !offered.is_empty()) {
            Some(offered) => match self.checksums.iter().find(|name| offered.contains(name)) {
                Some(name) => Ok(Some(name.clone())),
                None if self.try_unoffered => Ok(Some(first.clone())),
                None => Err(Misuse::NoAlgorithm {
                    offered: offered.clone(),
                }),
            },
            // Every server that has the extension has this one.
            None if self.checksums.contains(&Algorithm::SHA1) => Ok(Some(Algorithm::SHA1)),
            None => Ok(Some(first.clone())),
        }
    }

    /// The most bytes of a request; `even`: it must not be of just any size.
    pub(crate) fn most(&self, even: bool) -> Option<u64> {
        self.request_size.or_else(|| {
            even.then(|| {
                let least = self.request_min.unwrap_or(0);
                USUAL_REQUEST
                    .max(least)
                    .max(self.request_multiple.unwrap_or(0))
            })
        })
    }

    /// What is wrong whatever the machine.
    pub(crate) fn check(&self) -> Result<(), Misuse> {
        let most = self.request_size.unwrap_or(u64::MAX);
        let sizes = [self.request_size, self.request_min, self.request_multiple];
        if sizes
            .iter()
            .flatten()
            .any(|size| *size == 0 || *size > most)
            || multiple_above(self.request_min, self.request_multiple) > most
        {
            return Err(Misuse::RequestSize);
        }
        if self
            .identity
            .as_ref()
            .is_some_and(|identity| identity.len() > MAX_IDENTITY)
        {
            return Err(Misuse::Identity);
        }
        match &self.request_id {
            Some(name) if is_protocol_field(name) => Err(Misuse::Header(name.clone())),
            _ => Ok(()),
        }
    }
}

/// The least size that is a multiple and not below the minimum.
fn multiple_above(least: Option<u64>, multiple: Option<u64>) -> u64 {
    let least = least.unwrap_or(1);
    least
        .checked_next_multiple_of(multiple.unwrap_or(1).max(1))
        .unwrap_or(u64::MAX)
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("metadata", &self.metadata)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("foreign", &self.foreign)
            .field("retry", &self.retry)
            .field("timeouts", &self.timeouts)
            .field("server", &self.server)
            .field("request_size", &self.request_size)
            .field("checksums", &self.checksums)
            .field("parts", &self.parts)
            .field("recreations", &self.recreations)
            .field("authorize", &self.authorize)
            .field("veto", &self.veto)
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
    /// How many failed attempts are allowed without progress, so how often one is tried again: the one
    /// after them is the end. `None`: any number.
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
    /// For the answer to the request that joins the parts of an upload: a server may copy them all.
    pub concatenation: Duration,
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
            concatenation: Duration::from_secs(15 * 60),
            least_speed: 16 * 1024,
        }
    }
}

/// How an upload in parts is cut and joined ([`Parallel`](crate::Parallel)).
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// How many of them are uploaded at the same time; at least one is.
    pub at_once: u32,
    /// The shortest part that a file is cut into, in bytes. Files that are joined may be shorter.
    pub least: u64,
    /// The metadata of each part. That of the whole is [`Config::metadata`].
    pub metadata: Metadata,
    /// The longest list of the parts' URLs that may be sent, in bytes: servers and proxies limit the
    /// length of a field.
    pub list_limit: usize,
    /// Whether the list names the parts by path alone, without scheme and host, where they are on
    /// the endpoint's origin.
    pub relative: bool,
    /// Whether the whole is asked for before its parts are complete, where the server is known to
    /// offer that.
    pub unfinished: bool,
    /// Whether the parts are deleted once they are joined. Not every server keeps the whole then. It
    /// needs termination: where the server is known not to offer that, the upload is refused
    /// ([`Misuse::NotOffered`](crate::Misuse::NotOffered)).
    pub discard: bool,
}

impl Default for Parts {
    fn default() -> Self {
        Self {
            at_once: 3,
            least: 8 << 20,
            metadata: Metadata::default(),
            list_limit: 7 * 1024,
            relative: false,
            unfinished: false,
            discard: false,
        }
    }
}

impl Parts {
    /// The lengths of the parts of a source of this length, if so many are wanted: as many, or fewer
    /// if they would be shorter than [`least`](Self::least). `None`: it stays whole.
    #[must_use]
    pub fn cut(&self, length: u64, wanted: usize) -> Option<Vec<u64>> {
        let most = length / self.least.max(1);
        let count = (wanted.min(MAX_PARTS) as u64).min(most);
        let more = length.checked_rem(count).filter(|_| count > 1)?;
        let part = |n| length / count + u64::from(n < more);
        Some((0..count).map(part).collect())
    }
}

/// Whether an attempt that failed, of this operation and by this cause, is the last one.
pub type VetoPredicate = dyn Fn(Op, &Cause) -> bool + Send + Sync;

/// What ends the attempts before the [retry policy](RetryPolicy) does. It must be a pure function;
/// where it says `true`, the machine ends with [`Limit::Veto`](crate::Limit::Veto) and its checkpoint.
///
/// ```
/// use tus_proto::{Config, Op, Veto};
///
/// // An upload that nobody knows of must not be left on the server.
/// let mut config = Config::default();
/// config.veto = Veto::when(|op, _cause| op == Op::Create);
/// ```
#[derive(Clone, Default)]
pub struct Veto(Option<Arc<VetoPredicate>>);

impl Veto {
    /// Where this says so.
    pub fn when(last: impl Fn(Op, &Cause) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(last)))
    }

    pub(crate) fn ends(&self, op: Op, cause: &Cause) -> bool {
        self.0.as_ref().is_some_and(|last| last(op, cause))
    }
}

impl fmt::Debug for Veto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Veto(..)" } else { "Veto" })
    }
}

/// Whether fresh credentials may help against this refusal.
pub type AuthorizePredicate = dyn Fn(&Response<Bytes>) -> bool + Send + Sync;

/// On which answers fresh credentials are asked for.
///
/// Only refusals are put to the predicate: 400, 401, 403, and redirects that are not followed. A 400 that
/// another request can mend (one that was broken off, or brought a length that is known, or joined parts
/// that are not complete) is none.
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

#[cfg(test)]
mod tests {
    use super::*;

    // PROTOCOL §4, 27.
    #[test]
    fn a_source_is_cut_into_parts_that_are_not_too_short() {
        let mut parts = Parts::default();
        assert_eq!(parts.cut(u64::MAX, 1), None);
        assert_eq!(parts.cut((16 << 20) - 1, 4), None, "two would be too short");
        assert_eq!(parts.cut(16 << 20, 4), Some(vec![8 << 20; 2]));
        assert_eq!(
            parts.cut(100 << 20, 3),
            Some(vec![34_952_534, 34_952_533, 34_952_533])
        );
        parts.least = 1;
        assert_eq!(parts.cut(3, 5), Some(vec![1; 3]));
        assert_eq!(parts.cut(0, 5), None);
        assert_eq!(parts.cut(7, 0), None);
        assert_eq!(parts.cut(u64::MAX, 2), Some(vec![1 << 63, (1 << 63) - 1]));
    }
}
