//! A listening port of 127.0.0.1, a thread for each connection, and their end.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::panic;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

/// Takes connections until it is dropped. Then every connection is shut down, which unblocks whoever
/// reads or writes there, and all threads are joined.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    lines: Arc<Lines>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads of one port have in common.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    closing: Mutex<bool>,
    closed: Condvar,
    /// Weak, for a connection ends when its last user lets go of it.
    streams: Mutex<Vec<Weak<TcpStream>>>,
}

/// A port that is nobody else's, and refuses connections.
#[derive(Debug)]
pub(crate) struct Closed {
    socket: Socket,
    address: SocketAddr,
}

impl Closed {
    pub(crate) fn new(buffer: Option<usize>) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(size) = buffer {
            // Accepted connections inherit it, and the window is agreed on before they are accepted.
            socket.set_recv_buffer_size(size)?;
            socket.set_send_buffer_size(size)?;
        }
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket.local_addr()?.as_socket();
        let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { socket, address })
    }

    /// # Panics
    ///
    /// If there is none.
    pub(crate) fn any() -> Self {
        Self::new(None).expect("a port of 127.0.0.1")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Port {
    /// `serve` gets each connection, the only handle to it, and its number from 0.
    pub(crate) fn open<F>(closed: Closed, serve: F) -> io::Result<Self>
    where
        F: Fn(usize, Arc<TcpStream>, &Lines) + Send + Sync + 'static,
    {
        let Closed { socket, address } = closed;
        socket.listen(128)?;
        let listener = TcpListener::from(socket);
        let lines = Arc::new(Lines::default());
        let shared = Arc::clone(&lines);
        let thread = thread::Builder::new()
            .name("tus-testkit".into())
            .spawn(move || {
                let (lines, serve) = (&*shared, &serve);
                thread::scope(|scope| {
                    let mut number = 0;
                    loop {
                        let accepted = listener.accept();
                        if lines.is_closing() {
                            break;
                        }
                        // An error is of the one connection, which its peer has left already.
                        let Ok((stream, _)) = accepted else { continue };
                        let stream = lines.adopt(stream);
                        scope.spawn(move || serve(number, stream, lines));
                        number += 1;
                    }
                });
            })?;
        Ok(Self {
            address,
            lines,
            thread: Some(thread),
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.url_over(path, false)
    }

    pub(crate) fn url_over(&self, path: &str, tls: bool) -> String {
        let scheme = if tls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.lines.close();
        // Wakes the thread that waits for connections. If even this fails, its queue is not empty.
        drop(TcpStream::connect(self.address));
        if let Some(Err(payload)) = self.thread.take().map(JoinHandle::join)
            && !thread::panicking()
        {
            panic::resume_unwind(payload);
        }
    }
}

impl Lines {
    /// Has a stream shut down with the others.
    pub(crate) fn adopt(&self, stream: TcpStream) -> Arc<TcpStream> {
        drop(stream.set_nodelay(true));
        let stream = Arc::new(stream);
        {
            let mut streams = lock(&self.streams);
            streams.retain(|stream| stream.strong_count() > 0);
            streams.push(Arc::downgrade(&stream));
        }
        if self.is_closing() {
            drop(stream.shutdown(Shutdown::Both));
        }
        stream
    }

    /// Waits so long, unless the port comes to its end before. Says whether it has not.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let closing = lock(&self.closing);
        drop(
            self.closed
                .wait_timeout_while(closing, time, |closing| !*closing),
        );
        !self.is_closing()
    }

    /// Waits for the end of the port.
    pub(crate) fn hold(&self) {
        drop(
            self.closed
                .wait_while(lock(&self.closing), |closing| !*closing),
        );
    }

    pub(crate) fn is_closing(&self) -> bool {
        *lock(&self.closing)
    }

    fn close(&self) {
        *lock(&self.closing) = true;
        self.closed.notify_all();
        for stream in lock(&self.streams).iter().filter_map(Weak::upgrade) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

/// Has the connection end with a reset, not with an orderly close, once its last user lets go of it.
pub(crate) fn end_with_reset(stream: &TcpStream) {
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}

/// A thread that panicked holding the lock has failed its test already; what it left is good enough
/// for the others.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
