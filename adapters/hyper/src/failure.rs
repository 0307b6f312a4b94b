//! What hyper's errors mean for an upload.

use std::error::Error;
use std::{io, iter};

use tus_proto::{Failure, FailureKind};

/// `connected`: there was a connection for the request to go out on.
///
/// Messages hold no URL: the query of one may be a secret.
pub(crate) fn failure(error: &(dyn Error + 'static), connected: bool) -> Failure {
    let words = words(error);
    if let Some(why) = why_hopeless(&words) {
        return hopeless(why);
    }
    if !connected {
        return not_sent(if words.contains("dns error") {
            "the host was not found"
        } else {
            &words
        });
    }
    if is_unprocessed(error) {
        return not_sent("the connection took no more requests");
    }
    lost(if is_end(error) {
        "the server closed the connection without an answer"
    } else {
        &words
    })
}

pub(crate) fn hopeless(message: &str) -> Failure {
    Failure::new(FailureKind::Hopeless, message)
}

pub(crate) fn not_sent(message: &str) -> Failure {
    Failure::new(FailureKind::NotSent, message)
}

fn lost(message: &str) -> Failure {
    Failure::new(FailureKind::Lost, message)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| (*error).source())
}

/// What went wrong, from the general to the particular. hyper-util's own words, which come first, say
/// no more than where.
fn words(error: &(dyn Error + 'static)) -> String {
    let first = usize::from(error.source().is_some());
    let mut words = String::new();
    for cause in causes(error).skip(first) {
        let cause = match cause
            .downcast_ref::<h2::Error>()
            .and_then(h2::Error::reason)
        {
            // Not what a server says beside it, which may be long.
            Some(reason) => format!("HTTP/2: {}", reason.description()),
            None => cause.to_string(),
        };
        // Some repeat what they are caused by.
        if !words.ends_with(&cause) {
            let colon = if words.is_empty() { "" } else { ": " };
            words = words + colon + &cause;
        }
    }
    if words.contains("://") {
        // A connector of the caller's may name a proxy's URL, with its password.
        return "the HTTP client's connector failed".to_owned();
    }
    words
}

/// Whether the server says, or cannot but mean, that it has not looked at the request.
fn is_unprocessed(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            // It never went out.
            return error.is_canceled();
        }
        // Of a GOAWAY only those streams hear that are above the last one it takes.
        cause.downcast_ref::<h2::Error>().is_some_and(|error| {
            let refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
            error.is_remote() && (error.is_go_away() || refused)
        })
    })
}

fn is_end(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        let message = cause.downcast_ref::<hyper::Error>();
        let io = cause.downcast_ref::<io::Error>();
        message.is_some_and(hyper::Error::is_incomplete_message)
            || io.is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    })
}

/// The connectors, and the TLS stacks below them, do not promise the types of their errors, so this looks
/// at their words. A phrase that is missing here costs the user some attempts, no more.
fn why_hopeless(words: &str) -> Option<&str> {
    let lower = words.to_ascii_lowercase();
    let any = |phrases: &[&str]| phrases.iter().any(|phrase| lower.contains(phrase));
    if any(&["scheme is not http"]) {
        Some("this HTTP client has no TLS: give it a connector that has")
    } else if any(&["unsupported scheme", "https required"]) {
        Some("the HTTP client is set to https only")
    } else if any(&["invalid url", "absoluteurirequired"]) {
        Some("the HTTP client cannot use this URL")
    } else if any(&["proxy authorization required"]) {
        Some("the proxy refuses: check its URL and credentials")
    } else if any(&["invalidcontenttype", "wrong version number"]) {
        Some("no TLS is spoken there; is it http, or another port?")
    } else if any(&[
        // One side refused the other's certificate, or they speak no common TLS.
        "certificate",
        "unknownca",
        "handshakefailure",
        "handshake failure",
        "protocolversion",
        "protocol version",
    ]) {
        Some(words)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    /// hyper-util's, which cannot be made.
    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("client error (Connect)")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    fn judge(words: &str, connected: bool) -> Failure {
        failure(&Outer(io::Error::other(words)), connected)
    }

    #[test]
    fn what_had_no_connection_was_not_sent() {
        for words in ["Connection refused (os error 111)", "deadline has elapsed"] {
            let failure = judge(words, false);
            assert_eq!(failure.kind, FailureKind::NotSent);
            assert_eq!(failure.message, words);
            assert_eq!(judge(words, true).kind, FailureKind::Lost);
        }
    }

    #[test]
    fn what_tls_refuses_is_hopeless() {
        for words in [
            "invalid peer certificate: UnknownIssuer",
            "received fatal alert: CertificateRequired",
            "received fatal alert: ProtocolVersion",
            "received corrupt message of type InvalidContentType",
            "the handshake failed: certificate verify failed",
        ] {
            for connected in [true, false] {
                let failure = judge(words, connected);
                assert_eq!(failure.kind, FailureKind::Hopeless, "{words}");
            }
        }
    }

    // S3.
    #[test]
    fn no_message_holds_a_url() {
        let failure = judge("no way to http://me:secret@proxy/", false);
        assert_eq!(failure.kind, FailureKind::NotSent);
        assert!(!failure.message.contains("secret"), "{failure}");
    }
}
