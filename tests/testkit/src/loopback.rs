//! The server on a port.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::Response;
use http::request::Parts;

use crate::http1::Case;
use crate::port::{Closed, Lines, Port, lock};
use crate::serving::{Carriage, Served, Then};
use crate::{Begun, Fault, FaultPlan, Quirk, Reach, Reading, Server};

/// A [`Server`] on a port of 127.0.0.1 that the system picks, over HTTP/1.1.
///
/// Connections are kept alive, and each has a thread. Bodies go to the server as they arrive, in pieces of
/// at most 64 KiB; one that breaks off leaves what arrived. One in chunks is taken where a digest is
/// announced as a trailer, which needs them, and refused (411) elsewhere. A `Content-Length` that is not
/// one number is refused (400) before the server sees the request, also one that is there twice, and
/// the connection ends. `Expect: 100-continue` is answered when the body is wanted. An answer that does
/// not wait for the body comes at once; what is still sent is read and forgotten, so that the answer is
/// not lost, and the connection ends.
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
    carriage: Carriage,
}

#[derive(Debug)]
struct Shared {
    /// The path of the server's, which may be held by who asks for it.
    endpoint: String,
    server: Mutex<Server>,
    faults: Mutex<FaultPlan>,
}

/// A [`Loopback`] that is to be: its port is taken, and refuses connections.
#[derive(Debug)]
pub struct Refusing {
    endpoint: String,
    closed: Closed,
    server: Server,
}

impl Refusing {
    /// The URL of uploads to be created.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.closed.url(&self.endpoint)
    }

    /// Starts serving there.
    ///
    /// # Panics
    ///
    /// If nobody can listen there.
    #[must_use]
    pub fn listen(self) -> Loopback {
        Loopback::open(Shared::new(self.server), Carriage::Plain, self.closed)
    }
}

impl Shared {
    fn new(server: Server) -> Arc<Self> {
        Arc::new(Self {
            endpoint: server.endpoint().to_owned(),
            server: Mutex::new(server),
            faults: Mutex::new(FaultPlan::none()),
        })
    }
}

impl Loopback {
    /// Starts serving.
    ///
    /// # Panics
    ///
    /// If there is no port to listen on.
    #[must_use]
    pub fn start(server: Server) -> Self {
        Self::begin(server, Carriage::Plain)
    }

    /// Starts serving over another [`Carrier`](crate::Carrier).
    ///
    /// # Panics
    ///
    /// If there is no port to listen on.
    #[cfg(feature = "conformance")]
    #[must_use]
    pub fn over(carrier: crate::Carrier, server: Server) -> Self {
        Self::begin(server, Carriage::Of(crate::carrier::Carriage::new(carrier)))
    }

    /// A port for the server, on which nobody listens yet: connections are refused.
    ///
    /// # Panics
    ///
    /// If there is no port.
    #[must_use]
    pub fn refusing(server: Server) -> Refusing {
        Refusing {
            endpoint: server.endpoint().to_owned(),
            closed: Closed::any(),
            server,
        }
    }

    fn begin(server: Server, carriage: Carriage) -> Self {
        Self::open(Shared::new(server), carriage, Closed::any())
    }

    /// Another port, so another origin, with the same server and faults behind it.
    ///
    /// # Panics
    ///
    /// If there is no port to listen on.
    #[must_use]
    pub fn another(&self) -> Self {
        Self::open(
            Arc::clone(&self.shared),
            self.carriage.clone(),
            Closed::any(),
        )
    }

    fn open(shared: Arc<Shared>, carriage: Carriage, closed: Closed) -> Self {
        let (of_requests, of_connections) = (Arc::clone(&shared), carriage.clone());
        let serve = move |_, stream, lines: &Lines| {
            let pass = |head: &Parts, request: &mut dyn Served| {
                Passing {
                    shared: &of_requests,
                    lines,
                    head,
                    request,
                }
                .pass()
            };
            of_connections.serve(stream, &pass);
        };
        let port = Port::open(closed, serve).expect("a port of 127.0.0.1");
        Self {
            port,
            shared,
            carriage,
        }
    }

    /// Who has signed its certificate, if it has one.
    #[cfg(feature = "conformance")]
    #[must_use]
    pub fn authority(&self) -> Option<&crate::Authority> {
        self.carriage.authority()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL of uploads to be created.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.url(&self.shared.endpoint)
    }

    /// The URL of a path, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.port.url_over(path, self.carriage.is_tls())
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

/// One request on its way to the server.
struct Passing<'a> {
    shared: &'a Shared,
    lines: &'a Lines,
    head: &'a Parts,
    request: &'a mut dyn Served,
}

/// How far the server was brought into a body.
enum Fed {
    /// To its end, or until no more was wanted.
    Enough,
    /// As far as a fault lets it come.
    InTheMiddle,
}

impl Passing<'_> {
    fn pass(&mut self) -> io::Result<Then> {
        let fault = lock(&self.shared.faults).next_fault();
        match &fault {
            Some(Fault::Refuse | Fault::LoseRequest) => {
                self.server().note(self.head, None);
                return Ok(Then::Reset);
            }
            Some(Fault::Answer {
                reach: reach @ (Reach::Nothing | Reach::Swallowed),
                response,
            }) => {
                let record = self.server().note(self.head, Some(response.status()));
                if *reach == Reach::Swallowed {
                    self.request.go_on(self.head)?;
                    let read = self.swallow();
                    self.server().note_body(record, read);
                }
                return self.send(response);
            }
            _ => {}
        }

        let begun = self.server().begin(self.head);
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
                    .request
                    .go_on(self.head)
                    .and_then(|()| self.feed(&reading, wanted));
                match (fed, fault) {
                    (Ok(Fed::Enough), fault) => {
                        let response = self.server().finish(reading);
                        return self.end(&response, fault);
                    }
                    (Ok(Fed::InTheMiddle), Some(Fault::Stall { .. })) => {
                        let left = self.see_it_leave();
                        self.server().abort(reading);
                        return left;
                    }
                    (Ok(Fed::InTheMiddle), Some(Fault::Answer { response, .. })) => {
                        self.server().abort(reading);
                        return self.send(&response);
                    }
                    (Err(error), _) if error.kind() == io::ErrorKind::InvalidData => {
                        self.server().abort(reading);
                        return Err(error);
                    }
                    _ => {
                        self.server().abort(reading);
                        return Ok(Then::Reset);
                    }
                }
            }
        };
        self.end(&response, fault)
    }

    /// Sends the server's answer, unless the fault wants something else.
    fn end(&mut self, response: &Response<Bytes>, fault: Option<Fault>) -> io::Result<Then> {
        match fault {
            None => self.send(response),
            Some(Fault::Answer { response, .. }) => self.send(&response),
            Some(Fault::Delay(delay)) => {
                if !self.lines.wait(delay) {
                    return Ok(Then::Reset);
                }
                self.send(response)
            }
            Some(Fault::Stall { .. }) => self.see_it_leave(),
            Some(Fault::Cut { .. } | Fault::LoseAnswer | Fault::LoseRequest | Fault::Refuse) => {
                Ok(Then::Reset)
            }
        }
    }

    /// Says nothing more until the client has left.
    fn see_it_leave(&mut self) -> io::Result<Then> {
        self.request.see_it_leave();
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// Brings so many bytes of the body to the server, and what comes after the last one.
    fn feed(&mut self, reading: &Reading, mut wanted: u64) -> io::Result<Fed> {
        while let Some(piece) = self.request.piece(wanted)? {
            if wanted == 0 {
                return Ok(Fed::InTheMiddle);
            }
            wanted -= piece.len() as u64;
            if !lock(&self.shared.server).body(reading, piece) {
                return Ok(Fed::Enough);
            }
        }
        if let Some(fields) = self.request.trailers() {
            self.server().trailers(reading, fields);
        }
        Ok(Fed::Enough)
    }

    /// Reads the body and forgets it; says how many bytes came.
    fn swallow(&mut self) -> u64 {
        let mut read = 0;
        while let Ok(Some(piece)) = self.request.piece(u64::MAX) {
            read += piece.len() as u64;
        }
        read
    }

    fn send(&mut self, response: &Response<Bytes>) -> io::Result<Then> {
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
        self.request.respond(response, case)
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        lock(&self.shared.server)
    }
}
