//! What reqwest's errors mean for an upload.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter;

use tus_proto::{Failure, FailureKind};

/// Messages hold no URL: the query of one may be a secret.
pub(crate) fn failure(error: &reqwest::Error) -> Failure {
    let words: Vec<_> = causes(error).map(words).collect();
    let said = |is: fn(&str) -> bool| words.iter().find(|words| is(words));
    let last = &reason(error);
    if error.is_redirect() {
        redirected()
    } else if error.is_builder() {
        hopeless(&format!("the HTTP client cannot use this URL: {last}"))
    } else if let Some(words) = said(is_refusal) {
        hopeless(words)
    } else if error.is_connect() {
        unconnected(error, last, said)
    } else if is_unseen(error) {
        not_sent(last)
    } else if error.is_timeout() {
        lost("a time limit of the HTTP client's own has passed")
    } else if finds(error, hyper::Error::is_incomplete_message) {
        lost("the server closed the connection without an answer")
    } else {
        lost(last)
    }
}

fn unconnected<'a>(
    error: &reqwest::Error,
    last: &str,
    said: impl Fn(fn(&str) -> bool) -> Option<&'a String>,
) -> Failure {
    if said(is_no_tls).is_some() {
        hopeless("no TLS is spoken there; is it http, or another port?")
    } else if said(is_not_http).is_some() {
        without_tls()
    } else if said(is_unauthorized).is_some() {
        hopeless("the proxy refuses: authorization required; check its URL and credentials")
    } else if error.is_timeout() {
        not_sent("no connection in time")
    } else if finds(error, |error: &io::Error| {
        error.kind() == ErrorKind::ConnectionRefused
    }) {
        not_sent("the connection was refused")
    } else {
        not_sent(last)
    }
}

/// What becomes of an upload whose client cannot be made.
pub(crate) fn unmade(why: &str) -> Failure {
    hopeless(&format!("the HTTP client cannot be made: {why}"))
}

/// What becomes of an upload whose client follows redirects.
pub(crate) fn redirected() -> Failure {
    hopeless("something in the HTTP client follows redirects: turn that off")
}

pub(crate) fn without_tls() -> Failure {
    hopeless("this HTTP client has no TLS: build it with a TLS feature")
}

pub(crate) fn hopeless(message: &str) -> Failure {
    Failure::new(FailureKind::Hopeless, message)
}

fn not_sent(message: &str) -> Failure {
    Failure::new(FailureKind::NotSent, message)
}

fn lost(message: &str) -> Failure {
    Failure::new(FailureKind::Lost, message)
}

/// What an error is made of. reqwest's own errors are left out: they show URLs.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    iter::successors(error.source(), |&error| error.source())
        .filter(|error| !error.is::<reqwest::Error>())
}

/// What is at the bottom of an error.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let last = causes(error).last().map(words);
    last.unwrap_or_else(|| "the HTTP client failed".to_owned())
}

#[cfg(feature = "http2")]
fn words(cause: &(dyn Error + 'static)) -> String {
    match cause
        .downcast_ref::<h2::Error>()
        .and_then(h2::Error::reason)
    {
        // Not what a server says beside it, which may be long, and may be anything.
        Some(reason) => format!("HTTP/2: {}", reason.description()),
        None => cause.to_string(),
    }
}

#[cfg(not(feature = "http2"))]
fn words(cause: &(dyn Error + 'static)) -> String {
    cause.to_string()
}

fn finds<E: Error + 'static>(error: &reqwest::Error, is: impl Fn(&E) -> bool) -> bool {
    causes(error)
        .filter_map(|error| error.downcast_ref())
        .any(is)
}

/// Whether the server cannot have seen the request, although there was a connection.
fn is_unseen(error: &reqwest::Error) -> bool {
    // It never left the queue of a connection that ended.
    finds(error, hyper::Error::is_canceled) || is_turned_away(error)
}

/// Whether the server said that it has not looked at the request and will not: a stream that it refused,
/// or one above the last that it named when it went away.
#[cfg(feature = "http2")]
fn is_turned_away(error: &reqwest::Error) -> bool {
    finds(error, |error: &h2::Error| {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (refused || error.is_go_away())
    })
}

#[cfg(not(feature = "http2"))]
fn is_turned_away(_: &reqwest::Error) -> bool {
    false
}

// The types of what lies below are nobody's promise, so these look at words. A phrase that is missing
// here costs the user some attempts, no more.

/// Whether one side refused the other's certificate, or they speak no common TLS.
fn is_refusal(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    [
        "certificate",
        "unknownca",
        "handshakefailure",
        "protocolversion",
    ]
    .iter()
    .any(|phrase| words.contains(phrase))
}

/// Whether what came in place of a handshake is no TLS at all.
fn is_no_tls(words: &str) -> bool {
    words.contains("InvalidContentType") || words.contains("wrong version number")
}

/// Whether reqwest was built without TLS.
fn is_not_http(words: &str) -> bool {
    words.contains("scheme is not http")
}

/// Whether it is the proxy's last word.
fn is_unauthorized(words: &str) -> bool {
    words.contains("proxy authorization required")
}
