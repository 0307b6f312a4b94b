//! Sources that are read as they come, in a task.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use futures_core::Stream;

use crate::stream::{BLOCK, Kept, Want, lock};
use crate::{BoxFuture, Filled, Source};

/// A reader or a stream that is read once, from its first byte to its last, by an [`AsyncClient`] and no
/// other. Its next byte is the upload's first, also where an upload goes on.
///
/// What the server may still ask for again is kept: one request's worth, and less than 64 KiB more,
/// beside an item of the stream.
///
/// [`AsyncClient`]: crate::AsyncClient
pub struct AsyncSource {
    /// Apart from the rest, as in [`ReaderSource`](crate::ReaderSource).
    reader: Mutex<Reader>,
    kept: Mutex<Kept>,
    length: Option<u64>,
}

/// How many pieces are taken in a row.
const AT_ONCE: usize = 16;

/// With what it reads into.
type Reader = (Box<dyn Flow>, Box<[u8]>);

/// Whatever gives bytes to a task.
trait Flow: Send {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
}

impl AsyncSource {
    /// Takes a stream of byte buffers, such as the body of a request that is passed on.
    pub fn from_stream<S, B, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<B, E>> + Send + 'static,
        B: Buf + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::new(Items {
            stream: Box::pin(stream),
            item: None,
        })
    }

    /// Takes a reader of the kind that is no runtime's own.
    pub fn from_reader(reader: impl futures_io::AsyncRead + Send + 'static) -> Self {
        Self::new(Neutral(Box::pin(reader)))
    }

    /// Takes a reader of tokio's kind. This needs the feature `tokio`, which the adapters that run
    /// there turn on.
    #[cfg(feature = "tokio")]
    pub fn from_tokio(reader: impl tokio::io::AsyncRead + Send + 'static) -> Self {
        Self::new(Tokio(Box::pin(reader)))
    }

    fn new(flow: impl Flow + 'static) -> Self {
        Self {
            reader: Mutex::new((Box::new(flow), vec![0; BLOCK].into())),
            kept: Mutex::default(),
            length: None,
        }
    }

    /// Says how many bytes it has. The upload is created with that, which every server understands; a
    /// source that has fewer or more ends it.
    ///
    /// That it ends there is made sure of before the last bytes are sent: a reader that stays open after
    /// them, such as a connection, is to be limited to that length.
    #[must_use]
    pub fn with_length(self, bytes: u64) -> Self {
        Self {
            length: Some(bytes),
            ..self
        }
    }

    fn poll_fill(&self, cx: &mut Context<'_>, keep: u64, upto: u64) -> Poll<io::Result<Filled>> {
        let mut reader = lock(&self.reader);
        let (flow, piece) = &mut *reader;
        for _ in 0..AT_ONCE {
            let wanted = match lock(&self.kept).want(keep, upto)? {
                Want::Nothing(filled) => return Poll::Ready(Ok(filled)),
                Want::Read(wanted) => wanted,
            };
            let piece = &mut piece[..wanted];
            let polled = flow.poll_read(cx, piece);
            let mut kept = lock(&self.kept);
            match polled {
                Poll::Ready(read) => kept.took(piece, read)?,
                Poll::Pending => {
                    kept.waits();
                    return Poll::Pending;
                }
            }
        }
        // It has ever more: other tasks have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Source for AsyncSource {
    fn length(&self) -> Option<u64> {
        self.length
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn fill(&self, _: u64, _: u64) -> io::Result<Filled> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "it is read in a task: use a client whose calls are futures",
        ))
    }

    fn fill_async(&self, keep: u64, upto: u64) -> Option<BoxFuture<'_, io::Result<Filled>>> {
        Some(Box::pin(poll_fn(move |cx| self.poll_fill(cx, keep, upto))))
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        lock(&self.kept).read_at(buf, at)
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}

struct Items<S, B> {
    stream: Pin<Box<S>>,
    /// What is left of the last one.
    item: Option<B>,
}

impl<S, B, E> Flow for Items<S, B>
where
    S: Stream<Item = Result<B, E>> + Send,
    B: Buf + Send,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Some(item) = self.item.as_mut().filter(|item| Buf::has_remaining(*item)) {
                let length = item.remaining().min(buf.len());
                item.copy_to_slice(&mut buf[..length]);
                return Poll::Ready(Ok(length));
            }
            match ready!(self.stream.as_mut().poll_next(cx)) {
                Some(Ok(item)) => self.item = Some(item),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(0)),
            }
        }
    }
}

struct Neutral<R>(Pin<Box<R>>);

impl<R: futures_io::AsyncRead + Send> Flow for Neutral<R> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_read(cx, buf)
    }
}

#[cfg(feature = "tokio")]
struct Tokio<R>(Pin<Box<R>>);

#[cfg(feature = "tokio")]
impl<R: tokio::io::AsyncRead + Send> Flow for Tokio<R> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = tokio::io::ReadBuf::new(buf);
        ready!(self.0.as_mut().poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl fmt::Debug for AsyncSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncSource").finish_non_exhaustive()
    }
}
