//! A connection, and the grip that exchanges have of it.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::time::{Sleep, sleep};

/// How long reading may take to come to its end once writing has. What the peer said is here by then.
const PATIENCE: Duration = Duration::from_secs(1);

/// How much is read before others have their turn, the clock among them. hyper goes on in one poll for as
/// long as the peer has something to say that comes to nothing, and takes the framing of a body byte by
/// byte: by the time that tokio would stop it, it may have read for minutes.
const TURN: usize = 8 << 10;

/// A connection that can be ended from outside.
pub struct Line<T> {
    io: T,
    reset: fn(&T),
    grip: Grip,
    /// Since a write has failed.
    broken: Option<Pin<Box<Sleep>>>,
    /// How many bytes were read in this turn.
    read: usize,
}

impl<T> Line<T> {
    /// `reset` has what the system still holds thrown away when this is dropped.
    pub(crate) fn new(io: T, reset: fn(&T)) -> Self {
        Self {
            io,
            reset,
            grip: Grip::default(),
            broken: None,
            read: 0,
        }
    }
}

impl<T: Write + Unpin> Line<T> {
    /// That a write failed is not told yet: reading comes to the same end, after what the peer said before
    /// it closed. An early refusal would be taken for a loss otherwise. But over HTTP/2 nothing may be
    /// read before an answer to a ping is written.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.grip.look(cx)?;
        if let Some(patience) = &mut self.broken {
            let over = patience.as_mut().poll(cx);
            return over.map(|()| Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = write(Pin::new(&mut self.io), cx);
        if matches!(written, Poll::Ready(Err(_))) {
            self.broken = Some(Box::pin(sleep(PATIENCE)));
            // To read, and to have the time looked at.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        written
    }
}

impl<T: Read + Unpin> Read for Line<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.grip.look(cx)?;
        if self.read >= TURN {
            self.read = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // hyper's own buffer grows to many times that.
        let mut piece = [0; TURN];
        let wanted = buf.remaining().min(TURN);
        let mut piece = ReadBuf::new(&mut piece[..wanted]);
        ready!(Pin::new(&mut self.io).poll_read(cx, piece.unfilled()))?;
        buf.put_slice(piece.filled());
        self.read += piece.filled().len();
        Poll::Ready(Ok(()))
    }
}

impl<T: Write + Unpin> Write for Line<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |io, cx| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |io, cx| io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.grip.look(cx)?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.grip.look(cx)?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<T: Connection> Connection for Line<T> {
    fn connected(&self) -> Connected {
        self.io.connected().extra(self.grip.clone())
    }
}

impl<T> fmt::Debug for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

impl<T> Drop for Line<T> {
    fn drop(&mut self) {
        if self.grip.lock().ended {
            (self.reset)(&self.io);
        }
    }
}

/// What exchanges have of the connection that they are on.
#[derive(Clone, Default)]
pub(crate) struct Grip(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// How many exchanges are on it: over HTTP/2 there may be several.
    users: usize,
    /// An exchange on it was broken off.
    tainted: bool,
    ended: bool,
    /// Of the one task that reads and writes.
    waker: Option<Waker>,
}

impl Grip {
    /// One exchange more is on it.
    pub(crate) fn take(&self) {
        self.lock().users += 1;
    }

    /// One exchange less is on it.
    pub(crate) fn leave(&self) {
        self.change(|state| state.users = state.users.saturating_sub(1));
    }

    /// It ends as soon as no exchange is on it.
    pub(crate) fn taint(&self) {
        self.change(|state| state.tainted = true);
    }

    /// Whether both are of the same connection.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.lock();
            change(&mut state);
            state.ended |= state.tainted && state.users == 0;
            if state.ended {
                state.waker.take()
            } else {
                None
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// An error once it has ended; until then this task is woken when it does.
    fn look(&self, cx: &Context<'_>) -> io::Result<()> {
        let mut state = self.lock();
        if state.ended {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
