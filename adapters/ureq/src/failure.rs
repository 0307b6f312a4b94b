//! What ureq's errors mean for an upload.

use std::io::ErrorKind;

use tus_proto::{Failure, FailureKind};
use ureq::{Error, Timeout};

/// `began`: some of the body was handed over, so there was a connection.
///
/// Messages hold no URL: the query of one may be a secret.
pub(crate) fn failure(error: &Error, began: bool) -> Failure {
    let hopeless = |message: &str| Failure::new(FailureKind::Hopeless, message);
    match error {
        Error::BadUri(_) => hopeless("the HTTP client cannot use this URL"),
        Error::RequireHttpsOnly(_) => hopeless("the HTTP client is set to https only"),
        Error::InvalidProxyUrl => hopeless("the proxy's URL is not usable"),
        Error::TlsRequired => hopeless("this HTTP client has no TLS: build it with a TLS feature"),
        Error::Tls(what) => hopeless(what),
        Error::Http(error) => hopeless(&error.to_string()),
        Error::HostNotFound => not_sent("the host was not found"),
        Error::Timeout(Timeout::Resolve) => not_sent("the host's name was not resolved in time"),
        Error::Timeout(Timeout::Connect) => not_sent("no connection in time"),
        Error::ConnectionFailed => not_sent("no connection"),
        Error::ConnectProxyFailed(why) if refuses(why) => hopeless(&format!(
            "the proxy refuses: {why}; check its URL and credentials"
        )),
        Error::ConnectProxyFailed(why) => not_sent(&format!("the proxy gave no connection: {why}")),
        Error::Timeout(Timeout::PerWrite) => lost("the connection stalled"),
        Error::Timeout(Timeout::RecvResponse) => lost("no answer in time"),
        Error::Io(error) if !began && error.kind() == ErrorKind::ConnectionRefused => {
            not_sent("the connection was refused")
        }
        Error::Io(error) if !began && unreachable(error) => not_sent(&error.to_string()),
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => {
            lost("the server closed the connection without an answer")
        }
        // A TLS stack's own words, which come wrapped in various ways.
        error => {
            let words = match error {
                Error::Io(error) => error.to_string(),
                other => other.to_string(),
            };
            if !began && is_no_tls(&words) {
                return hopeless("no TLS is spoken there; is it http, or another port?");
            }
            let kind = if !began && is_refusal(&words) {
                FailureKind::Hopeless
            } else {
                FailureKind::Lost
            };
            Failure::new(kind, words)
        }
    }
}

fn not_sent(message: &str) -> Failure {
    Failure::new(FailureKind::NotSent, message)
}

fn lost(message: &str) -> Failure {
    Failure::new(FailureKind::Lost, message)
}

/// What only a connection that is being made can say, or one that has been silent for far longer
/// than any limit here.
fn unreachable(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NetworkUnreachable
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::AddrNotAvailable
    ) || is_unresolved(error)
}

/// A name that is not resolved is an error like any other to the standard library.
fn is_unresolved(error: &std::io::Error) -> bool {
    // WSAHOST_NOT_FOUND, WSATRY_AGAIN, WSANO_RECOVERY, WSANO_DATA
    (cfg!(windows) && matches!(error.raw_os_error(), Some(11001..=11004)))
        || error
            .to_string()
            .starts_with("failed to lookup address information")
}

/// Whether it is the proxy's last word: its answer was a 4xx, of which a few mean a later time.
fn refuses(why: &str) -> bool {
    why.split(|c: char| !c.is_ascii_digit())
        .filter(|word| !["408", "425", "429"].contains(word))
        .any(|word| word.len() == 3 && word.starts_with('4'))
}

/// Whether what came in place of a handshake is no TLS at all, in rustls's words.
fn is_no_tls(words: &str) -> bool {
    words.contains("InvalidContentType") || words.contains("wrong version number")
}

/// Whether one side refused the other's certificate, or they speak no common TLS.
///
/// ureq does not promise the types of the errors of its TLS stacks, so this looks at their words.
/// A phrase that is missing here costs the user some attempts, no more.
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn kind(error: &Error) -> FailureKind {
        failure(error, false).kind
    }

    #[test]
    fn what_the_server_cannot_have_seen_is_not_sent() {
        for error in [
            Error::HostNotFound,
            Error::Timeout(Timeout::Connect),
            Error::Timeout(Timeout::Resolve),
            Error::Io(ErrorKind::ConnectionRefused.into()),
            Error::Io(ErrorKind::NetworkUnreachable.into()),
            Error::Io(io::Error::other(
                "failed to lookup address information: Name or service not known",
            )),
        ] {
            assert_eq!(kind(&error), FailureKind::NotSent, "{error}");
        }
        let error = Error::Io(ErrorKind::HostUnreachable.into());
        assert_eq!(failure(&error, true).kind, FailureKind::Lost);
    }

    #[test]
    fn when_in_doubt_it_is_lost() {
        for error in [
            Error::Io(ErrorKind::ConnectionReset.into()),
            Error::Io(ErrorKind::BrokenPipe.into()),
            Error::Io(ErrorKind::UnexpectedEof.into()),
            Error::Timeout(Timeout::PerWrite),
            Error::Timeout(Timeout::RecvResponse),
            Error::LargeResponseHeader(1, 0),
        ] {
            assert_eq!(kind(&error), FailureKind::Lost, "{error}");
        }
    }

    #[test]
    fn a_refused_certificate_is_hopeless() {
        for words in [
            "invalid peer certificate: UnknownIssuer",
            "received fatal alert: CertificateRequired",
            "received fatal alert: ProtocolVersion",
        ] {
            let error = Error::Io(io::Error::new(ErrorKind::InvalidData, words));
            assert_eq!(kind(&error), FailureKind::Hopeless, "{error}");
        }
    }

    #[test]
    fn what_is_no_tls_and_what_a_proxy_refuses_is_hopeless() {
        let no_tls = "received corrupt message of type InvalidContentType";
        let error = Error::Io(io::Error::new(ErrorKind::InvalidData, no_tls));
        assert_eq!(kind(&error), FailureKind::Hopeless);
        assert_eq!(failure(&error, true).kind, FailureKind::Lost);
        for (why, expected) in [
            ("proxy server responded 407/407", FailureKind::Hopeless),
            (
                "proxy server responded 403/Forbidden",
                FailureKind::Hopeless,
            ),
            ("proxy server responded 408/408", FailureKind::NotSent),
            ("proxy server responded 425/425", FailureKind::NotSent),
            ("proxy server responded 429/429", FailureKind::NotSent),
            ("proxy server responded 503/503", FailureKind::NotSent),
            ("connection to port 4080 failed", FailureKind::NotSent),
        ] {
            assert_eq!(
                kind(&Error::ConnectProxyFailed(why.to_owned())),
                expected,
                "{why}"
            );
        }
    }

    // S3.
    #[test]
    fn no_message_holds_a_url() {
        for error in [
            Error::BadUri("http://h/?secret".to_owned()),
            Error::RequireHttpsOnly("http://h/?secret".to_owned()),
        ] {
            assert!(!failure(&error, false).message.contains("secret"));
        }
    }
}
