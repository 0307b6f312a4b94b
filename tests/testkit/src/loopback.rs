//! The server on a port.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Response, StatusCode};

use crate::http1::{Case, Inbox, Incoming, parse_head, write_response};
use crate::port::{Lines, Port, end_with_reset, lock};
use crate::{Begun, Fault, FaultPlan, Quirk, Reach, Reading, Server};

/// How long a client that got an early answer may stay silent before the connection is closed.
const LINGER: Duration = Duration::from_secs(5);

/// A [`Server`] on a port of 127.0.0.1 that the system picks, over HTTP/1.1.
///
/// Connections are kept alive, and each has a thread. Bodies go to the server as they arrive, in pieces of
/// at most 64 KiB; one that breaks off leaves what arrived. One in chunks is taken where a digest is
/// announced as a trailer, which needs them, and refused (411) elsewhere. `Expect: 100-continue` is answered when
/// the body is wanted. An answer that does not wait for the body comes at once; what is still sent is
/// read and forgotten, so that the answer is not lost, and the connection ends.
///
/// Dropping it closes all connections and waits for their threads.
///
/// ```
/// use tus_testkit::{Loopback, Options, Server};
///
/// let loopback = Loopback::start(Server::new(Options::default()));
/// let endpoint = loopback.endpoint(); // "http://127.0.0.1:34567/files/"
/// // … upload something to it …
/// assert_eq!(loopback.server().uploads().count(), 0);
/// # drop(endpoint);
/// ```
#[derive(Debug)]
pub struct Loopback {
    port: Port,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<Server>,
    faults: Mutex<FaultPlan>,
}

impl Loopback {
    /// Starts serving.
    ///
    /// # Panics
    ///
    /// If there is no port to listen on.
    #[must_use]
    pub fn start(server: Server) -> Self {
        Self::open(Arc::new(Shared {
            server: Mutex::new(server),
            faults: Mutex::new(FaultPlan::none()),
        }))
    }

    /// Another port, so another origin, with the same server and faults behind it.
    ///
    /// # Panics
    ///
    /// If there is no port to listen on.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::open(Arc::clone(&self.shared))
    }

    fn open(shared: Arc<Shared>) -> Self {
        let of_connections = Arc::clone(&shared);
        let serve = move |_, stream, lines: &Lines| {
            Connection {
                inbox: Inbox::new(stream),
                shared: &of_connections,
                lines,
            }
            .run();
        };
        let port = Port::open(None, serve).expect("a port of 127.0.0.1");
        Self { port, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL of uploads to be created.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.port.url(self.server().endpoint())
    }

    /// The URL of a path, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.port.url(path)
    }

    /// The server. No request is looked at while it is held.
    pub fn server(&self) -> MutexGuard<'_, Server> {
        lock(&self.shared.server)
    }

    /// What happens to the exchanges from the next one on, in the order in which their heads arrive.
    pub fn set_faults(&self, faults: FaultPlan) {
        *lock(&self.shared.faults) = faults;
    }
}

struct Connection<'a> {
    inbox: Inbox,
    shared: &'a Shared,
    lines: &'a Lines,
}

/// What becomes of a connection after an exchange.
enum Then {
    Next,
    /// After this answer, which the client may still have to find.
    Close,
    Reset,
    Hold(Option<Reading>),
}

/// How far the server was brought into a body.
enum Fed {
    /// To its end, or until no more was wanted.
    Enough,
    /// As far as a fault lets it come.
    InTheMiddle,
}

impl Connection<'_> {
    fn run(mut self) {
        loop {
            let Ok(Some(head)) = self.inbox.head() else {
                return;
            };
            let then = match parse_head(&head) {
                Some(head) => {
                    let fault = lock(&self.shared.faults).next_fault();
                    self.exchange(&head, fault)
                }
                None => self.refuse(),
            };
            match then {
                Ok(Then::Next) => {}
                Ok(Then::Close) => return self.close(),
                Ok(Then::Reset) => return end_with_reset(self.inbox.stream()),
                Ok(Then::Hold(reading)) => {
                    self.lines.hold();
                    if let Some(reading) = reading {
                        self.server().abort(reading);
                    }
                    return;
                }
                Err(_) => return,
            }
        }
    }

    fn exchange(&mut self, head: &Parts, fault: Option<Fault>) -> io::Result<Then> {
        let mut body = Incoming::new(&head.headers);
        match &fault {
            Some(Fault::Refuse | Fault::LoseRequest) => {
                self.server().note(head, None);
                return Ok(Then::Reset);
            }
            Some(Fault::Answer {
                reach: reach @ (Reach::Nothing | Reach::Swallowed),
                response,
            }) => {
                let record = self.server().note(head, Some(response.status()));
                if *reach == Reach::Swallowed {
                    self.go_on(head)?;
                    let read = self.swallow(&mut body);
                    self.server().note_body(record, read);
                }
                return self.send(head, response, body.is_read());
            }
            _ => {}
        }

        let begun = self.server().begin(head);
        let response = match begun {
            Begun::Answered(response) => response,
            Begun::Reading(reading) => {
                let wanted = match fault {
                    Some(
                        Fault::Cut { after }
                        | Fault::Stall { after }
                        | Fault::Answer {
                            reach: Reach::Bytes(after),
                            ..
                        },
                    ) => after,
                    _ => u64::MAX,
                };
                let fed = self
                    .go_on(head)
                    .and_then(|()| self.feed(&reading, &mut body, wanted));
                match (fed, fault) {
                    (Ok(Fed::Enough), fault) => {
                        let response = self.server().finish(reading);
                        return self.end(head, &response, body.is_read(), fault);
                    }
                    (Ok(Fed::InTheMiddle), Some(Fault::Stall { .. })) => {
                        return Ok(Then::Hold(Some(reading)));
                    }
                    (Ok(Fed::InTheMiddle), Some(Fault::Answer { response, .. })) => {
                        self.server().abort(reading);
                        return self.send(head, &response, false);
                    }
                    (Err(error), _) if error.kind() == io::ErrorKind::InvalidData => {
                        self.server().abort(reading);
                        return self.refuse();
                    }
                    _ => {
                        self.server().abort(reading);
                        return Ok(Then::Reset);
                    }
                }
            }
        };
        self.end(head, &response, body.is_read(), fault)
    }

    /// Sends the server's answer, unless the fault wants something else.
    fn end(
        &self,
        head: &Parts,
        response: &Response<Bytes>,
        reusable: bool,
        fault: Option<Fault>,
    ) -> io::Result<Then> {
        match fault {
            None => self.send(head, response, reusable),
            Some(Fault::Answer { response, .. }) => self.send(head, &response, reusable),
            Some(Fault::Delay(delay)) => {
                if !self.lines.wait(delay) {
                    return Ok(Then::Reset);
                }
                self.send(head, response, reusable)
            }
            Some(Fault::Stall { .. }) => Ok(Then::Hold(None)),
            Some(Fault::Cut { .. } | Fault::LoseAnswer | Fault::LoseRequest | Fault::Refuse) => {
                Ok(Then::Reset)
            }
        }
    }

    /// Brings so many bytes of the body to the server, and what comes after the last one.
    fn feed(&mut self, reading: &Reading, body: &mut Incoming, mut wanted: u64) -> io::Result<Fed> {
        while let Some(piece) = body.piece(&mut self.inbox, wanted)? {
            if wanted == 0 {
                return Ok(Fed::InTheMiddle);
            }
            wanted -= piece.len() as u64;
            if !lock(&self.shared.server).body(reading, piece) {
                return Ok(Fed::Enough);
            }
        }
        if let Incoming::Ended(fields) = body {
            self.server().trailers(reading, fields);
        }
        Ok(Fed::Enough)
    }

    /// Reads the body and forgets it; says how many bytes came.
    fn swallow(&mut self, body: &mut Incoming) -> u64 {
        let mut read = 0;
        while let Ok(Some(piece)) = body.piece(&mut self.inbox, u64::MAX) {
            read += piece.len() as u64;
        }
        read
    }

    /// Tells a client that waits for it to go on with the body.
    fn go_on(&self, head: &Parts) -> io::Result<()> {
        if head
            .headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            self.inbox
                .stream()
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        Ok(())
    }

    fn send(&self, head: &Parts, response: &Response<Bytes>, reusable: bool) -> io::Result<Then> {
        let close = !reusable || has_token(&head.headers, &CONNECTION, "close");
        let case = {
            let server = self.server();
            match server
                .quirks()
                .iter()
                .find(|quirk| matches!(quirk, Quirk::LowerCase | Quirk::UpperCase))
            {
                Some(Quirk::LowerCase) => Case::Lower,
                Some(_) => Case::Upper,
                None => Case::Title,
            }
        };
        write_response(self.inbox.stream(), &head.method, response, case, close)?;
        Ok(if close { Then::Close } else { Then::Next })
    }

    fn refuse(&self) -> io::Result<Then> {
        let mut response = Response::new(Bytes::from_static(b"this is not an HTTP request\n"));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        write_response(
            self.inbox.stream(),
            &Method::GET,
            &response,
            Case::Title,
            true,
        )?;
        Ok(Then::Close)
    }

    /// Closes so that the last answer arrives: a connection closed with bytes unread would be reset,
    /// and the answer with it.
    fn close(&mut self) {
        let stream = self.inbox.stream();
        if stream.shutdown(Shutdown::Write).is_ok() && stream.set_read_timeout(Some(LINGER)).is_ok()
        {
            drop(self.inbox.skip(u64::MAX));
        }
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        lock(&self.shared.server)
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
