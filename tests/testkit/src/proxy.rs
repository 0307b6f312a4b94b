//! A line between a client and a server that breaks when it is told to.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::port::{Closed, Lines, Port, end_with_reset, lock};

/// How long a server may take to close after it was told that a request broke off.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a [`Proxy`] does to the bytes that pass.
///
/// Troubles are told by the bytes on their way from client to server, heads included.
#[derive(Clone, Debug)]
pub struct ProxyPlan {
    /// Each of these happens once, to the connection that brings the total of all connections to its
    /// count. Their order does not matter.
    pub troubles: Vec<(u64, Trouble)>,
    /// This happens to every connection when it has brought so many bytes itself.
    pub each: Option<(u64, Trouble)>,
    /// Every piece of up to 64 KiB from the client is held up for so long.
    pub delay: Duration,
    /// On a [`Trouble::Reset`], the server sees an orderly end and the client's reset waits until the
    /// server has closed, for 5 seconds at most: every byte up to the count has been dealt with by
    /// then. Otherwise the server
    /// is reset as well, and loses what it had not read yet. On by default.
    pub graceful: bool,
    /// The size of the sockets' own buffers; 64 KiB by default, so that little more than this is under way
    /// when the line breaks.
    pub buffer: usize,
}

impl Default for ProxyPlan {
    fn default() -> Self {
        Self {
            troubles: Vec::new(),
            each: None,
            delay: Duration::ZERO,
            graceful: true,
            buffer: 64 << 10,
        }
    }
}

/// What happens to a connection of a [`Proxy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is reset. Exactly the bytes up to the count have been passed on.
    Reset,
    /// Nothing more is read from the client; the connection stays until the proxy is dropped.
    Stall,
    /// Requests pass, but the next answer does not: as it begins the connection is reset. An interim
    /// one, as `100 Continue`, is no answer. Answers are those of HTTP/1.1 in the clear: over TLS or
    /// HTTP/2 whatever the server sends next is taken for one.
    LoseAnswer,
}

/// A TCP proxy on a port of 127.0.0.1 that resets and stalls connections, or loses an answer, at given byte
/// counts, and holds up every piece if it is told to.
///
/// Counts are exact: a byte beyond the next one is not read from the client before the trouble
/// happened. Only where several connections run at once may the total pass a count by what another one
/// was reading. Ends and resets pass through in both directions.
///
/// Dropping it closes all connections and waits for their threads.
///
/// ```
/// use tus_testkit::{ProxyPlan, Loopback, Options, Proxy, Server, Trouble};
///
/// let loopback = Loopback::start(Server::new(Options::default()));
/// let plan = ProxyPlan { troubles: vec![(1 << 20, Trouble::Reset), (3 << 20, Trouble::Stall)], ..ProxyPlan::default() };
/// let proxy = Proxy::start(loopback.address(), plan);
/// let endpoint = proxy.url("/files/");
/// # drop(endpoint);
/// ```
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    traffic: Arc<Traffic>,
}

#[derive(Debug)]
struct Traffic {
    server: SocketAddr,
    plan: ProxyPlan,
    /// Total bytes read from clients, and how many of the sorted troubles have happened.
    tally: Mutex<(u64, usize)>,
    connections: AtomicU64,
    cuts: AtomicU64,
}

impl Proxy {
    /// Starts passing bytes on to the server at this address.
    ///
    /// # Panics
    ///
    /// If there is no port to listen on.
    #[must_use]
    pub fn start(server: SocketAddr, mut plan: ProxyPlan) -> Self {
        plan.troubles.sort_by_key(|&(at, _)| at);
        let buffer = Some(plan.buffer);
        let traffic = Arc::new(Traffic {
            server,
            plan,
            tally: Mutex::default(),
            connections: AtomicU64::default(),
            cuts: AtomicU64::default(),
        });
        let of_connections = Arc::clone(&traffic);
        let serve =
            move |_, client: Arc<TcpStream>, lines: &Lines| of_connections.serve(client, lines);
        let port = Closed::new(buffer)
            .and_then(|closed| Port::open(closed, serve))
            .expect("a port of 127.0.0.1");
        Self { port, traffic }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// The URL of a path, which begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        self.port.url(path)
    }

    /// How many bytes were read from clients.
    #[must_use]
    pub fn received(&self) -> u64 {
        lock(&self.traffic.tally).0
    }

    /// How many connections there were.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.traffic.connections.load(Ordering::Relaxed)
    }

    /// How many troubles came about: resets, stalls, and answers that were lost.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        self.traffic.cuts.load(Ordering::Relaxed)
    }
}

/// Both sides of one connection. A socket is closed when both directions have let go of it.
#[derive(Clone)]
struct Pair {
    client: Arc<TcpStream>,
    server: Arc<TcpStream>,
    /// Nothing goes to the client any more.
    cut: Arc<AtomicBool>,
    /// The next answer is the end.
    doomed: Arc<AtomicBool>,
}

impl Pair {
    /// Ends both sides with a reset. A reader is woken, and only by that: the write sides stay as they
    /// are, for an orderly end must not come before the reset.
    fn reset(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in [&self.client, &self.server] {
            end_with_reset(stream);
            drop(stream.shutdown(Shutdown::Read));
        }
    }
}

impl Traffic {
    fn serve(&self, client: Arc<TcpStream>, lines: &Lines) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let server = match self.connect() {
            Ok(server) => lines.adopt(server),
            Err(_) => return end_with_reset(&client),
        };
        let pair = Pair {
            client,
            server,
            cut: Arc::default(),
            doomed: Arc::default(),
        };
        let (running, answers_ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let answers = pair.clone();
            scope.spawn(move || {
                self.pass_answers(&answers);
                drop(answers);
                drop(running);
            });
            self.pass_requests(&pair, lines, &answers_ended);
            drop(pair);
        });
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.server), Type::STREAM, None)?;
        socket.set_send_buffer_size(self.plan.buffer)?;
        socket.set_recv_buffer_size(self.plan.buffer)?;
        socket.connect(&self.server.into())?;
        Ok(socket.into())
    }

    /// From client to server, until this connection's end.
    fn pass_requests(&self, pair: &Pair, lines: &Lines, answers_ended: &Receiver<()>) {
        let mut buffer = vec![0; 64 << 10];
        let mut own = 0;
        let mut each = self.plan.each;
        loop {
            let (room, trouble) = self.ahead(own, &mut each);
            match trouble {
                Some(Trouble::Reset) => {
                    self.cuts.fetch_add(1, Ordering::Relaxed);
                    if self.plan.graceful {
                        pair.cut.store(true, Ordering::SeqCst);
                        drop(pair.server.shutdown(Shutdown::Write));
                        // Its hanging up is what is waited for.
                        answers_ended.recv_timeout(PATIENCE).unwrap_or_default();
                    }
                    return pair.reset();
                }
                Some(Trouble::Stall) => {
                    self.cuts.fetch_add(1, Ordering::Relaxed);
                    return lines.hold();
                }
                Some(Trouble::LoseAnswer) => {
                    pair.doomed.store(true, Ordering::SeqCst);
                    continue;
                }
                None => {}
            }
            let room = usize::try_from(room).map_or(buffer.len(), |room| room.min(buffer.len()));
            let read = match (&*pair.client).read(&mut buffer[..room]) {
                Ok(0) if pair.cut.load(Ordering::SeqCst) => return,
                Ok(0) => return drop(pair.server.shutdown(Shutdown::Write)),
                Ok(read) => read,
                Err(_) => return pair.reset(),
            };
            own += read as u64;
            let doomed = self.count(read as u64, own, &mut each);
            if !self.plan.delay.is_zero() && !lines.wait(self.plan.delay) {
                return;
            }
            if doomed {
                // An answer may come as soon as these bytes are there.
                pair.doomed.store(true, Ordering::SeqCst);
            }
            if (&*pair.server).write_all(&buffer[..read]).is_err() {
                return pair.reset();
            }
        }
    }

    /// Counts what was read, and says whether the next answer is to be lost.
    fn count(&self, read: u64, own: u64, each: &mut Option<(u64, Trouble)>) -> bool {
        let (total, next) = &mut *lock(&self.tally);
        *total += read;
        let due = |count: u64| {
            move |&mut (at, trouble): &mut (u64, Trouble)| {
                trouble == Trouble::LoseAnswer && count >= at
            }
        };
        let mut planned = self.plan.troubles.get(*next).copied();
        let of_all = planned.take_if(due(*total)).is_some();
        *next += usize::from(of_all);
        each.take_if(due(own)).is_some() || of_all
    }

    /// How many bytes may be read before the next trouble, or the trouble that has come.
    fn ahead(&self, own: u64, each: &mut Option<(u64, Trouble)>) -> (u64, Option<Trouble>) {
        let (total, next) = &mut *lock(&self.tally);
        let mut room = u64::MAX;
        if let Some(&(at, trouble)) = self.plan.troubles.get(*next) {
            if *total >= at {
                *next += 1;
                return (0, Some(trouble));
            }
            room = at - *total;
        }
        if let Some((at, trouble)) = *each {
            if own >= at {
                *each = None;
                return (0, Some(trouble));
            }
            room = room.min(at - own);
        }
        (room, None)
    }

    /// From server to client, until this connection's end.
    fn pass_answers(&self, pair: &Pair) {
        let mut buffer = vec![0; 64 << 10];
        // What came of an answer that is not known yet to be an interim one.
        let mut held = Vec::new();
        loop {
            let read = (&*pair.server).read(&mut buffer);
            let cut = pair.cut.load(Ordering::SeqCst);
            match read {
                Ok(0) | Err(_) if cut => return,
                Ok(0) if held.is_empty() => return drop(pair.client.shutdown(Shutdown::Write)),
                Ok(_) if cut => {}
                Ok(read) if pair.doomed.load(Ordering::SeqCst) => {
                    held.extend_from_slice(&buffer[..read]);
                    let (interim, answered) = interim(&held);
                    let passed = (&*pair.client).write_all(&held[..interim]);
                    held.drain(..interim);
                    let lost = answered || read == 0;
                    self.cuts.fetch_add(u64::from(lost), Ordering::Relaxed);
                    if lost || passed.is_err() {
                        return pair.reset();
                    }
                }
                Ok(read) if (&*pair.client).write_all(&buffer[..read]).is_ok() => {}
                Ok(_) | Err(_) => return pair.reset(),
            }
        }
    }
}

/// How many of these bytes, which begin with an answer, are interim ones, and whether a final one
/// follows.
fn interim(bytes: &[u8]) -> (usize, bool) {
    const START: &[u8] = b"HTTP/1.1 1";
    const END: &[u8] = b"\r\n\r\n";
    let mut length = 0;
    loop {
        let rest = &bytes[length..];
        if !rest.starts_with(START) {
            return (length, !START.starts_with(rest));
        }
        match rest.windows(END.len()).position(|window| window == END) {
            Some(at) => length += at + END.len(),
            None => return (length, false),
        }
    }
}
