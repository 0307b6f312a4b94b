//! What can happen to one exchange.

use std::time::Duration;

use bytes::Bytes;
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use tus_proto::Cancel;

use super::Choices;
use crate::Reach;

/// What happens to one exchange of a simulated run: what a [`Fault`](crate::Fault) is, and what happens
/// later, when the client has gone on, or to the client itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Incident {
    /// No connection comes about, and the client knows that nothing was sent.
    Refused,
    /// The connection is lost before the server knows of the request.
    LostRequest,
    /// The connection is lost after this many bytes of the body, which the server has.
    Cut {
        /// Bytes of the body.
        after: u64,
    },
    /// The request is carried out and its answer is lost.
    LostAnswer,
    /// After this many bytes of the body nothing moves any more; some time later the server notices.
    Stalled {
        /// Bytes of the body.
        after: u64,
    },
    /// The answer comes so late, perhaps when nobody waits for it any more.
    Delayed(Duration),
    /// The answer comes a second time, so much later.
    Doubled(Duration),
    /// An interim response comes before the answer, which takes this long.
    Interim(Duration),
    /// The connection is lost after `handed` bytes of the body, of which the server has `arrived` by then.
    /// The others come to it later, from a buffer in between, while it holds the upload's lock.
    Ghost {
        /// How many bytes of the body left the client.
        handed: u64,
        /// How many of them the server has when the client hears of the loss.
        arrived: u64,
        /// How much later the others come.
        later: Duration,
        /// Whether the client hears nothing, and has to give up by itself.
        silent: bool,
    },
    /// The connection is lost, and a proxy that had taken the whole request brings it to the server so
    /// much later: until then nobody holds a lock.
    Buffered {
        /// How much later.
        later: Duration,
    },
    /// The client gets another answer than the server's, from a proxy or a login page.
    Intercepted {
        /// How much of the request the server got.
        reach: Reach,
        /// The answer's status.
        status: u16,
        /// Its `Retry-After`, in seconds.
        retry_after: Option<u64>,
    },
    /// The client is sent to another URL, which leads to the same server.
    Redirected {
        /// The answer's status.
        status: u16,
        /// How that URL differs.
        to: Elsewhere,
    },
    /// The transport says that it can never do it.
    Hopeless,
    /// The source cannot be read while the body goes out, or it is not any more what it was.
    SourceFails {
        /// Whether it has changed.
        changed: bool,
    },
    /// Of the body, the server takes so many bytes and says so.
    Partial(u64),
    /// HEAD says so many bytes too few: another node of the server answers it.
    Stale(u64),
    /// The server crashes after `after` bytes of the body, and of what it had it loses the last ones.
    Crashed {
        /// Bytes of the body.
        after: u64,
        /// How many bytes of the upload are lost.
        lost: u64,
    },
    /// Before the request comes, the server has dropped an upload that was not complete.
    Vanished,
    /// Before the request comes, somebody else has written so many bytes to the upload.
    Stranger(u64),
    /// The user cancels when the request has gone out.
    Cancelled(Cancel),
    /// The client's process is killed, before the request goes out or when it was carried out.
    Killed {
        /// Whether it was carried out.
        carried_out: bool,
    },
}

/// Where a redirect leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// The same URL.
    Same,
    /// Another host.
    Host,
    /// Another port.
    Port,
    /// The other scheme.
    Scheme,
    /// The same, with user information.
    UserInfo,
}

/// What can happen to an exchange: what a [`Fault`](crate::Fault) is, and what happens later, or to the
/// client itself. They are the letters of the alphabet that schedules are spelled in. Where in the body it happens, how much later, and with which status, is
/// chosen when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Sort {
    /// No connection comes about, and the client knows that nothing was sent.
    Refused,
    /// The connection is lost before the server knows of the request.
    LostRequest,
    /// The connection is lost in the body, of which the server has what was sent.
    Cut,
    /// The request is carried out and its answer is lost.
    LostAnswer,
    /// In the body nothing moves any more; some time later the server notices.
    Stalled,
    /// The answer comes late, perhaps when nobody waits for it any more.
    Delayed,
    /// The answer comes a second time, later.
    Doubled,
    /// An interim response comes before the answer, which is late.
    Interim,
    /// The connection is lost in the body, and what was sent comes to the server later, while it holds the
    /// upload's lock.
    Ghost,
    /// The connection is lost, and the whole request comes to the server later. Until then nobody holds a
    /// lock.
    Buffered,
    /// The client gets an answer that is not the server's, which may have got some of the request.
    Intercepted,
    /// The client is sent to another URL, which leads to the same server.
    Redirected,
    /// The transport says that it can never do it.
    Hopeless,
    /// The source cannot be read, or is not what it was.
    SourceFails,
    /// The server takes a part of the body, and says so.
    Partial,
    /// HEAD says too few bytes: another node of the server answers it.
    Stale,
    /// The server crashes in the body, and loses the last bytes of what it had.
    Crashed,
    /// The server has dropped an upload that was not complete.
    Vanished,
    /// Somebody else has written to the upload.
    Stranger,
    /// The user cancels when the request has gone out.
    Cancelled,
    /// The client's process is killed, before the request goes out or when it was carried out.
    Killed,
}

/// What a proxy may say, or a login page: with a status of 400 that it was displaced.
const STATUSES: [u16; 25] = [
    503, 500, 502, 504, 429, 423, 409, 404, 410, 403, 401, 200, 204, 408, 425, 499, 520, 400, 421,
    413, 412, 417, 405, 501, 507,
];
/// What tusd says with a 400 to a request that another one has ended.
pub(super) const DISPLACED: &[u8] =
    b"ERR_UPLOAD_INTERRUPTED: another request took the upload over\n";
const LATER: [u64; 4] = [200, 3_000, 70_000, 400_000];

impl Sort {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Refused,
        Self::LostRequest,
        Self::Cut,
        Self::LostAnswer,
        Self::Stalled,
        Self::Delayed,
        Self::Doubled,
        Self::Interim,
        Self::Ghost,
        Self::Buffered,
        Self::Intercepted,
        Self::Redirected,
        Self::Hopeless,
        Self::SourceFails,
        Self::Partial,
        Self::Stale,
        Self::Crashed,
        Self::Vanished,
        Self::Stranger,
        Self::Cancelled,
        Self::Killed,
    ];

    /// Its name in a [`Tally`](super::Tally).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refused => "no connection",
            Self::LostRequest => "request lost",
            Self::Cut => "body cut",
            Self::LostAnswer => "answer lost",
            Self::Stalled => "stalled",
            Self::Delayed => "answer late",
            Self::Doubled => "answer doubled",
            Self::Interim => "interim response",
            Self::Ghost => "ghost",
            Self::Buffered => "request held back",
            Self::Intercepted => "answered by a proxy",
            Self::Redirected => "redirected",
            Self::Hopeless => "hopeless",
            Self::SourceFails => "source fails",
            Self::Partial => "taken in part",
            Self::Stale => "stale HEAD",
            Self::Crashed => "crash loses bytes",
            Self::Vanished => "upload vanishes",
            Self::Stranger => "another writer",
            Self::Cancelled => "cancelled at a request",
            Self::Killed => "killed at a request",
        }
    }

    /// One of this kind, for a request with so many bytes.
    pub(super) fn draw(self, choices: &mut Choices, length: u64) -> Incident {
        match self {
            Self::Refused => Incident::Refused,
            Self::LostRequest => Incident::LostRequest,
            Self::Cut => Incident::Cut {
                after: choices.below(length),
            },
            Self::LostAnswer => Incident::LostAnswer,
            Self::Stalled => Incident::Stalled {
                after: choices.below(length + 1),
            },
            Self::Delayed => Incident::Delayed(later(choices)),
            Self::Doubled => Incident::Doubled(later(choices)),
            Self::Interim => Incident::Interim(later(choices)),
            Self::Ghost => {
                let handed = choices.below(length + 1);
                Incident::Ghost {
                    handed,
                    arrived: choices.below(handed + 1),
                    later: later(choices),
                    silent: choices.once_in(2),
                }
            }
            Self::Buffered => Incident::Buffered {
                later: later(choices),
            },
            Self::Intercepted => {
                let status = *choices.pick(&STATUSES);
                // Who says 421 has not passed the request on.
                let reach = match choices.below(if status == 421 { 2 } else { 4 }) {
                    0 => Reach::Nothing,
                    1 => Reach::Swallowed,
                    2 => Reach::Bytes(choices.below(length + 1)),
                    _ => Reach::All,
                };
                let wait = [429, 503].contains(&status) && choices.once_in(2);
                Incident::Intercepted {
                    reach,
                    status,
                    retry_after: wait.then(|| *choices.pick(&[2, 40, 4_000])),
                }
            }
            Self::Redirected => Incident::Redirected {
                status: *choices.pick(&[307, 308, 302]),
                to: *choices.pick(&[
                    Elsewhere::Same,
                    Elsewhere::Host,
                    Elsewhere::Port,
                    Elsewhere::Scheme,
                    Elsewhere::UserInfo,
                ]),
            },
            Self::Hopeless => Incident::Hopeless,
            Self::SourceFails => Incident::SourceFails {
                changed: choices.once_in(2),
            },
            Self::Partial => Incident::Partial(choices.below(length)),
            Self::Stale => Incident::Stale(1 + choices.below(4)),
            Self::Crashed => Incident::Crashed {
                after: choices.below(length + 1),
                lost: 1 + choices.below(length.max(4)),
            },
            Self::Vanished => Incident::Vanished,
            Self::Stranger => Incident::Stranger(1 + choices.below(4)),
            Self::Cancelled => {
                Incident::Cancelled(*choices.pick(&[Cancel::Keep, Cancel::Now, Cancel::Terminate]))
            }
            Self::Killed => Incident::Killed {
                carried_out: choices.once_in(2),
            },
        }
    }
}

fn later(choices: &mut Choices) -> Duration {
    Duration::from_millis(*choices.pick(&LATER))
}

/// An answer that is not the server's.
pub(super) fn intercepted(status: u16, retry_after: Option<u64>) -> Response<Bytes> {
    let words: &'static [u8] = match status {
        400 => DISPLACED,
        200 => b"<!DOCTYPE html><title>Please log in</title>",
        _ => b"not here, not now\n",
    };
    let mut response = Response::new(Bytes::from_static(words));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let wait = retry_after.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds)));
    response.headers_mut().extend(wait);
    response
}

/// A redirect of a request to this URL.
pub(super) fn redirect(status: u16, uri: &http::Uri, to: Elsewhere) -> Response<Bytes> {
    let (scheme, host) = (
        uri.scheme_str().unwrap_or("http"),
        uri.host().unwrap_or_default(),
    );
    let target = crate::location::target(uri);
    let port = uri
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let url = match to {
        Elsewhere::Same => target.to_owned(),
        Elsewhere::Host => format!("{scheme}://elsewhere.example{port}{target}"),
        Elsewhere::Port => format!("{scheme}://{host}:8081{target}"),
        Elsewhere::Scheme => {
            let other = if scheme == "http" { "https" } else { "http" };
            format!("{other}://{host}{port}{target}")
        }
        Elsewhere::UserInfo => format!("{scheme}://evil:gu35t@{host}{port}{target}"),
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let location = HeaderValue::try_from(url).ok().map(|url| (LOCATION, url));
    response.headers_mut().extend(location);
    response
}
