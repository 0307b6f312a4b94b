//! A peer that plays what it is told to, over any carrier.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response};

use crate::carrier::Carriage;
use crate::http1::Case;
use crate::port::{Closed, Lines, Port, lock};
use crate::serving::{Served, Then};
use crate::{Authority, Carrier, location};

/// One thing that a [`Stage`] does for a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Reads so many bytes more of the body.
    Read(u64),
    /// Reads the body to its end.
    ReadAll,
    /// Sends an interim answer.
    Interim(Response<()>),
    /// Sends the answer, framed as it must be. Before the body was read, it is an early one.
    Answer(Response<Bytes>),
    /// Sends no more than an answer's head, as it is: what follows is its body. The connection of
    /// HTTP/1.1 ends with it.
    Head(Response<()>),
    /// Sends bytes of the answer's body; over HTTP/1.1, where no head came before, these bytes.
    Write(Bytes),
    /// As `Write`, each byte on its own.
    Trickle(Bytes),
    /// Sends so many bytes of the answer's body, made up as the client takes them.
    Flood(u64),
    /// Plays these again and again, until one of them ends the list or the client leaves. Where there
    /// is nothing in them to send or to read any more, they are not: the stage waits for it to leave.
    Again(Vec<Act>),
    /// Does nothing, and reads nothing, until [`Stage::go_on`].
    Hold,
    /// Resets the request: its stream in HTTP/2, its connection in HTTP/1.1. Ends the list.
    Reset,
    /// Resets it with word that nothing was done, which only HTTP/2 has. Ends the list.
    Refuse,
    /// Resets the connection. Ends the list.
    Abort,
    /// Ends the connection in order. Ends the list.
    Close,
}

impl Act {
    /// Sends an answer of this status and these words.
    ///
    /// # Panics
    ///
    /// If the status is none.
    #[must_use]
    pub fn answer(status: u16, words: impl Into<Bytes>) -> Self {
        Self::Answer(response(status, &[], words))
    }

    /// Sends an answer of this status and these fields, without words.
    ///
    /// # Panics
    ///
    /// If the status is none, or the fields are not.
    #[must_use]
    pub fn fields(status: u16, fields: &[(&str, &str)]) -> Self {
        Self::Answer(response(status, fields, Bytes::new()))
    }
}

/// An answer in short.
pub(crate) fn response(
    status: u16,
    fields: &[(&str, &str)],
    words: impl Into<Bytes>,
) -> Response<Bytes> {
    let response = fields.iter().fold(
        Response::builder().status(status),
        |response, &(name, value)| response.header(name, value),
    );
    response.body(words.into()).expect("a good response")
}

/// A request that a [`Stage`] got.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// All header lines.
    pub headers: HeaderMap,
    /// The fields after the body.
    pub trailers: HeaderMap,
    /// How many bytes of the body were read so far.
    pub body: u64,
    /// Their CRC-32.
    pub crc32: u32,
    /// How it ended; `None`: it goes on.
    pub end: Option<End>,
}

/// How a request ended, as a [`Stage`] saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The acts were played to the last.
    Played,
    /// The client left before: it broke off, reset the stream, or closed the connection.
    Left,
}

/// A peer on a port of 127.0.0.1 that plays a list of [`Act`]s for each request, over any [`Carrier`].
///
/// The n-th request gets the n-th list, in the order in which heads arrive, and those after the last
/// list get that one again. Where a list ends without an answer, the stage reads on until the client
/// leaves, and says so: [`Stage::wait`].
///
/// Dropping it closes all connections and waits for their threads.
///
/// ```
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
/// use tus_testkit::{Act, Carrier, Stage};
///
/// let stage = Stage::start(Carrier::Http1, [vec![Act::Read(2), Act::answer(403, "no")]]);
/// let mut client = TcpStream::connect(stage.address()).unwrap();
/// client.write_all(b"PATCH /1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello").unwrap();
/// let mut head = [0; 12];
/// client.read_exact(&mut head).unwrap();
/// assert_eq!(&head, b"HTTP/1.1 403");
/// assert_eq!(stage.seen()[0].body, 2);
/// ```
#[derive(Debug)]
pub struct Stage {
    port: Port,
    carriage: Carriage,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    notes: Mutex<Notes>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Notes {
    seen: Vec<Seen>,
    /// How many requests were forgotten before those.
    forgotten: usize,
    connections: usize,
    /// Whether holds go on.
    going: bool,
}

impl Notes {
    fn of(&mut self, number: usize) -> Option<&mut Seen> {
        self.seen.get_mut(number.checked_sub(self.forgotten)?)
    }
}

impl Stage {
    /// Starts listening.
    ///
    /// # Panics
    ///
    /// If there is no port to listen on.
    #[must_use]
    pub fn start(carrier: Carrier, lists: impl IntoIterator<Item = Vec<Act>>) -> Self {
        let lists: Vec<_> = lists.into_iter().collect();
        Self::choosing(carrier, move |number| {
            let acts = lists.get(number).or(lists.last());
            acts.cloned().unwrap_or_default()
        })
    }

    /// Starts listening, with acts that are chosen by the request's number, from 0.
    ///
    /// # Panics
    ///
    /// If there is no port to listen on.
    #[must_use]
    pub fn choosing(
        carrier: Carrier,
        choose: impl Fn(usize) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        let carriage = Carriage::new(carrier);
        let shared = Arc::new(Shared::default());
        let (of_requests, of_connections) = (Arc::clone(&shared), carriage.clone());
        let serve = move |_, stream, _: &Lines| {
            of_requests.note(|notes| notes.connections += 1);
            let play = |head: &Parts, request: &mut dyn Served| {
                let number = of_requests.begin(head);
                let then = Play {
                    shared: &of_requests,
                    number,
                    request,
                    crc32: crc32fast::Hasher::new(),
                    busy: false,
                }
                .play(&choose(number));
                of_requests.note_of(number, |seen| {
                    seen.end
                        .get_or_insert(if then.is_ok() { End::Played } else { End::Left });
                });
                then
            };
            of_connections.serve(stream, &play);
        };
        let port = Port::open(Closed::any(), serve).expect("a port of 127.0.0.1");
        Self {
            port,
            carriage,
            shared,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL of a path, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.port.url_over(path, self.authority().is_some())
    }

    /// Who has signed its certificate, if it has one.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        self.carriage.authority()
    }

    /// The requests so far, in the order in which their heads arrived.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.notes().seen.clone()
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.notes().connections
    }

    /// Forgets the requests so far. Their lists of acts are used up all the same.
    pub fn forget(&self) {
        let notes = &mut *self.notes();
        notes.forgotten += notes.seen.len();
        notes.seen.clear();
    }

    /// Lets every [`Act::Hold`] go on, those to come as well.
    pub fn go_on(&self) {
        self.shared.note(|notes| notes.going = true);
    }

    /// Waits until something can be seen in the requests, and gives it; `None`, if it is not to be seen
    /// within this time.
    pub fn wait<T>(
        &self,
        within: Duration,
        mut look: impl FnMut(&[Seen]) -> Option<T>,
    ) -> Option<T> {
        let mut found = None;
        drop(
            self.shared
                .changed
                .wait_timeout_while(self.notes(), within, |notes| {
                    found = look(&notes.seen);
                    found.is_none()
                }),
        );
        found
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        lock(&self.shared.notes)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.go_on();
    }
}

impl Shared {
    fn note<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        let noted = note(&mut lock(&self.notes));
        self.changed.notify_all();
        noted
    }

    fn note_of(&self, number: usize, note: impl FnOnce(&mut Seen)) {
        self.note(|notes| notes.of(number).map(note));
    }

    fn begin(&self, head: &Parts) -> usize {
        self.note(|notes| {
            notes.seen.push(Seen {
                method: head.method.clone(),
                target: location::target(&head.uri).to_owned(),
                headers: head.headers.clone(),
                ..Seen::default()
            });
            notes.forgotten + notes.seen.len() - 1
        })
    }

    fn hold(&self) {
        let held = self
            .changed
            .wait_while(lock(&self.notes), |notes| !notes.going);
        drop(held);
    }
}

/// A list of acts, being played.
struct Play<'a> {
    shared: &'a Shared,
    number: usize,
    request: &'a mut dyn Served,
    crc32: crc32fast::Hasher,
    /// Whether something was sent or read since the acts that come again began anew.
    busy: bool,
}

impl Play<'_> {
    fn play(mut self, acts: &[Act]) -> io::Result<Then> {
        match self.play_all(acts)? {
            Continue(Some(Then::Next)) => self.request.end(),
            Continue(Some(then)) | Break(then) => Ok(then),
            Continue(None) => self.see_it_leave(),
        }
    }

    fn see_it_leave<T>(&mut self) -> io::Result<T> {
        drop(self.read(u64::MAX));
        self.request.see_it_leave();
        Err(io::ErrorKind::BrokenPipe.into())
    }

    /// What is to become of the request, and whether an act has ended the list with that; `None`: it
    /// has no answer yet.
    fn play_all(&mut self, acts: &[Act]) -> io::Result<ControlFlow<Then, Option<Then>>> {
        let mut then = None;
        for act in acts {
            self.busy |= match act {
                Act::Write(bytes) | Act::Trickle(bytes) => !bytes.is_empty(),
                Act::Flood(bytes) => *bytes > 0,
                Act::Interim(_) | Act::Answer(_) | Act::Head(_) => true,
                _ => false,
            };
            match act {
                Act::Read(bytes) => self.read(*bytes)?,
                Act::ReadAll => self.read(u64::MAX)?,
                Act::Interim(response) => self.request.interim(response)?,
                Act::Answer(response) => then = Some(self.request.respond(response, Case::Title)?),
                Act::Head(response) => {
                    self.request.head(response)?;
                    then = Some(Then::Next);
                }
                Act::Write(bytes) => {
                    self.request.write(bytes)?;
                    then = Some(Then::Next);
                }
                Act::Trickle(bytes) => {
                    for byte in bytes.chunks(1) {
                        self.request.write(byte)?;
                    }
                    then = Some(Then::Next);
                }
                Act::Flood(bytes) => self.flood(*bytes)?,
                Act::Again(acts) => loop {
                    self.busy = false;
                    match self.play_all(acts)? {
                        Break(then) => return Ok(Break(then)),
                        Continue(_) if self.busy => {}
                        Continue(_) => return self.see_it_leave(),
                    }
                },
                Act::Hold => self.shared.hold(),
                Act::Reset => return Ok(Break(Then::Reset)),
                Act::Refuse => return Ok(Break(Then::Refuse)),
                Act::Abort => return Ok(Break(Then::Abort)),
                Act::Close => return Ok(Break(Then::Close)),
            }
        }
        Ok(Continue(then))
    }

    fn read(&mut self, bytes: u64) -> io::Result<()> {
        let mut left = bytes;
        while left > 0 {
            let Some(piece) = self.request.piece(left)? else {
                break;
            };
            left -= piece.len() as u64;
            self.busy |= !piece.is_empty();
            self.crc32.update(piece);
            let (length, crc32) = (piece.len() as u64, self.crc32.clone().finalize());
            self.shared.note_of(self.number, |seen| {
                seen.body += length;
                seen.crc32 = crc32;
            });
        }
        if let Some(fields) = self.request.trailers() {
            self.shared
                .note_of(self.number, |seen| seen.trailers = fields.clone());
        }
        Ok(())
    }

    fn flood(&mut self, bytes: u64) -> io::Result<()> {
        static PIECE: [u8; 64 << 10] = [b'a'; 64 << 10];
        let mut left = bytes;
        while left > 0 {
            let now = usize::try_from(left).map_or(PIECE.len(), |left| left.min(PIECE.len()));
            self.request.write(&PIECE[..now])?;
            left -= now as u64;
        }
        Ok(())
    }
}
