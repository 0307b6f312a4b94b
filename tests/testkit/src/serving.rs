//! Serving a connection's requests, one after the other, whatever carries them.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};

use crate::http1::{Case, Inbox, Incoming, Plain, bodiless, encode_head, parse_head};
use crate::port::end_with_reset;

/// How long a client that got an early answer may stay silent before the connection is closed.
const LINGER: Duration = Duration::from_secs(5);

/// A request that is being served: its body, and its answer.
pub(crate) trait Served {
    /// Some bytes of the body that have arrived, at most so many; `None` at the body's end, which may
    /// take reading to find.
    fn piece(&mut self, most: u64) -> io::Result<Option<&[u8]>>;

    /// The fields after the body, once its end was found.
    fn trailers(&self) -> Option<&HeaderMap>;

    /// Sends an interim answer.
    fn interim(&mut self, response: &Response<()>) -> io::Result<()>;

    /// Sends the answer whole, framed as it must be.
    fn respond(&mut self, response: &Response<Bytes>, case: Case) -> io::Result<Then>;

    /// Sends no more than the answer's head, as it is.
    #[cfg(feature = "conformance")]
    fn head(&mut self, response: &Response<()>) -> io::Result<()>;

    /// Sends bytes of the answer's body, as soon as the client takes them.
    #[cfg(feature = "conformance")]
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// The answer that was begun with its head is whole.
    #[cfg(feature = "conformance")]
    fn end(&mut self) -> io::Result<Then>;

    /// Reads on until the client has given up this request, or its connection.
    fn see_it_leave(&mut self);

    /// Tells a client that waits for it to go on with the body.
    fn go_on(&mut self, head: &Parts) -> io::Result<()> {
        if head
            .headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::CONTINUE;
            self.interim(&response)?;
        }
        Ok(())
    }
}

/// What is to become of the request's connection, or of its stream where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It was answered.
    Next,
    /// The connection ends in order, with an answer perhaps that the client may still have to find.
    Close,
    Reset,
    /// Reset with word that nothing was done, where there are words for it.
    #[cfg(feature = "conformance")]
    Refuse,
    /// The connection is reset, with all that goes on there.
    #[cfg(feature = "conformance")]
    Abort,
}

/// Serves requests; an error is of the connection, which the client has left.
pub(crate) type Handler<'a> = dyn Fn(&Parts, &mut dyn Served) -> io::Result<Then> + Sync + 'a;

/// How the requests of a port come.
#[derive(Clone, Debug)]
pub(crate) enum Carriage {
    /// As HTTP/1.1, in the clear.
    Plain,
    #[cfg(feature = "conformance")]
    Of(crate::carrier::Carriage),
}

impl Carriage {
    /// Serves a connection to its end.
    pub(crate) fn serve(&self, stream: Arc<TcpStream>, handler: &Handler<'_>) {
        match self {
            Self::Plain => serve_http1(Inbox::new(Plain(stream)), handler),
            #[cfg(feature = "conformance")]
            Self::Of(carriage) => carriage.serve(stream, handler),
        }
    }

    pub(crate) fn is_tls(&self) -> bool {
        match self {
            Self::Plain => false,
            #[cfg(feature = "conformance")]
            Self::Of(carriage) => carriage.authority().is_some(),
        }
    }

    #[cfg(feature = "conformance")]
    pub(crate) fn authority(&self) -> Option<&crate::Authority> {
        match self {
            Self::Plain => None,
            Self::Of(carriage) => carriage.authority(),
        }
    }
}

/// Serves a connection of HTTP/1.1 to its end.
pub(crate) fn serve_http1(mut inbox: Inbox, handler: &Handler<'_>) {
    loop {
        let Ok(Some(head)) = inbox.head() else {
            return;
        };
        let request =
            parse_head(&head).and_then(|head| Some((Incoming::new(&head.headers)?, head)));
        let then = match request {
            Some((body, mut head)) => {
                head.extensions.insert(inbox.scheme());
                let mut request = Request1::new(&mut inbox, body, &head);
                match handler(&head, &mut request) {
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => refuse(&mut inbox),
                    then => then,
                }
            }
            None => refuse(&mut inbox),
        };
        match then {
            Ok(Then::Next) => {}
            Ok(Then::Close) => return close(inbox),
            Err(_) => return,
            Ok(_) => return end_with_reset(inbox.stream()),
        }
    }
}

fn refuse(inbox: &mut Inbox) -> io::Result<Then> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let words = b"this is not an HTTP request\n";
    let mut answer = encode_head(&response, Some(words.len()), Case::Title, true);
    answer.extend_from_slice(words);
    inbox.write(&answer)?;
    Ok(Then::Close)
}

/// Closes so that the last answer arrives: a connection closed with bytes unread would be reset, and
/// the answer with it.
fn close(mut inbox: Inbox) {
    if inbox.finish().is_ok() && inbox.stream().set_read_timeout(Some(LINGER)).is_ok() {
        drop(inbox.skip(u64::MAX));
    }
}

/// A request over HTTP/1.1.
struct Request1<'a> {
    inbox: &'a mut Inbox,
    body: Incoming,
    method: Method,
    /// Whether the connection ends with this request.
    last: bool,
}

impl<'a> Request1<'a> {
    fn new(inbox: &'a mut Inbox, body: Incoming, head: &Parts) -> Self {
        Self {
            inbox,
            body,
            method: head.method.clone(),
            last: has_token(&head.headers, &CONNECTION, "close"),
        }
    }
}

impl Served for Request1<'_> {
    fn piece(&mut self, most: u64) -> io::Result<Option<&[u8]>> {
        self.body.piece(self.inbox, most)
    }

    fn trailers(&self) -> Option<&HeaderMap> {
        match &self.body {
            Incoming::Ended(fields) => Some(fields),
            _ => None,
        }
    }

    fn interim(&mut self, response: &Response<()>) -> io::Result<()> {
        self.inbox
            .write(&encode_head(response, None, Case::Title, false))
    }

    fn respond(&mut self, response: &Response<Bytes>, case: Case) -> io::Result<Then> {
        let last = self.last || !self.body.is_read();
        let (head, body) = (response.clone().map(drop), response.body());
        let mut answer = encode_head(&head, Some(body.len()), case, last);
        if self.method != Method::HEAD && !bodiless(response.status()) {
            answer.extend_from_slice(body);
        }
        self.inbox.write(&answer)?;
        Ok(if last { Then::Close } else { Then::Next })
    }

    #[cfg(feature = "conformance")]
    fn head(&mut self, response: &Response<()>) -> io::Result<()> {
        // Where its body ends may be for the connection's end to say.
        self.last |= !response.status().is_informational();
        self.inbox
            .write(&encode_head(response, None, Case::Title, self.last))
    }

    #[cfg(feature = "conformance")]
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.last = true;
        self.inbox.write(bytes)
    }

    #[cfg(feature = "conformance")]
    fn end(&mut self) -> io::Result<Then> {
        Ok(if self.last { Then::Close } else { Then::Next })
    }

    fn see_it_leave(&mut self) {
        // A reset is an end as well.
        drop(self.inbox.skip(u64::MAX));
    }
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}
