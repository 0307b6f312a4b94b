//! The body of one exchange, for a stack that asks for its frames.

use std::fmt;
use std::io::{self, Read as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use tus_proto::{Algorithm, Body, Failure, FailureKind};

use crate::control::Exchange;
use crate::digest::{Hasher, hasher};
use crate::reader::{BodyReader, PIECE};
use crate::unblock::{Unblocked, unblock};
use crate::{AsyncTransport, Source};

/// The body of one exchange: exactly the bytes of its range, in frames of at most 64 KiB, then the
/// trailer, where there is to be one.
///
/// Its length is exact, so that a stack sends `Content-Length`; with a trailer it has none, for that
/// goes out in chunks. One frame is read ahead where reading may wait. What is taken of it is counted
/// as [sent](crate::Control::sent): a stack should ask no further ahead than it writes. After a stop, and
/// once the exchange has returned, it gives an error in place of the next frame.
pub struct UploadBody {
    state: State,
    left: u64,
    taken: u64,
    exchange: Arc<Exchange>,
    /// Where reading may wait; `None`: it never does.
    stack: Option<Arc<dyn AsyncTransport>>,
    trailer: Option<Trailer>,
}

enum State {
    Resting(Box<BodyReader>),
    Reading(Unblocked<(Box<BodyReader>, io::Result<Bytes>)>),
    /// An error was given, or all.
    Over,
}

struct Trailer {
    algorithm: Algorithm,
    hasher: Box<dyn Hasher>,
}

impl UploadBody {
    pub(crate) fn new(
        source: &Arc<dyn Source>,
        range: &Body,
        exchange: &Arc<Exchange>,
        trailer: Option<&Algorithm>,
        stack: &Arc<dyn AsyncTransport>,
    ) -> Result<Self, Failure> {
        let reader = BodyReader::new(Arc::clone(source), range, Arc::clone(exchange));
        let trailer = trailer.map(Trailer::new).transpose()?;
        Ok(Self {
            state: State::Resting(Box::new(reader)),
            left: range.end.saturating_sub(range.start),
            taken: 0,
            exchange: Arc::clone(exchange),
            stack: (!source.is_in_memory()).then(|| Arc::clone(stack)),
            trailer,
        })
    }

    /// The next bytes of the range.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.exchange.wakes(cx.waker());
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Over => return Poll::Ready(Err(io::Error::other("the body has failed"))),
                State::Resting(mut reader) => match &self.stack {
                    None => {
                        let piece = read_piece(&mut reader, self.left)?;
                        self.state = State::Resting(reader);
                        return Poll::Ready(Ok(piece));
                    }
                    Some(stack) => self.state = read_ahead(&**stack, reader, self.left),
                },
                State::Reading(mut reading) => {
                    // Nothing is handed over after a stop, however long ago it was read.
                    if self.exchange.stopped() {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                    }
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let Some((reader, piece)) = read else {
                        let words = "nobody is left to read the source";
                        let failure = Failure::new(FailureKind::Source, words);
                        self.exchange.source_failed(failure.clone());
                        return Poll::Ready(Err(io::Error::other(failure)));
                    };
                    let piece = piece?;
                    let after = self.left.saturating_sub(piece.len() as u64);
                    self.state = match &self.stack {
                        Some(stack) if after > 0 => read_ahead(&**stack, reader, after),
                        _ => State::Resting(reader),
                    };
                    return Poll::Ready(Ok(piece));
                }
            }
        }
    }
}

/// Has the next piece read where waiting is allowed.
fn read_ahead(stack: &dyn AsyncTransport, mut reader: Box<BodyReader>, left: u64) -> State {
    State::Reading(unblock(stack, move || {
        let piece = read_piece(&mut reader, left);
        (reader, piece)
    }))
}

impl http_body::Body for UploadBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let body = self.get_mut();
        if body.left == 0 {
            if body.trailer.is_some() && body.exchange.stopped() {
                // It would be the end of the request, and so would nothing at all.
                return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
            }
            let trailer = body.trailer.take().and_then(Trailer::finish);
            return Poll::Ready(trailer.map(|trailer| Ok(Frame::trailers(trailer))));
        }
        let Poll::Ready(piece) = body.poll_piece(cx) else {
            return Poll::Pending;
        };
        Poll::Ready(Some(piece.map(|piece| {
            body.left = body.left.saturating_sub(piece.len() as u64);
            body.taken = body.taken.saturating_add(piece.len() as u64);
            body.exchange.sent(body.taken);
            if let Some(trailer) = &mut body.trailer {
                trailer.hasher.update(&piece);
            }
            Frame::data(piece)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.trailer.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.left);
        if self.trailer.is_none() {
            hint.set_upper(self.left);
        }
        hint
    }
}

impl Trailer {
    fn new(algorithm: &Algorithm) -> Result<Self, Failure> {
        Ok(Self {
            algorithm: algorithm.clone(),
            hasher: hasher(algorithm)?,
        })
    }

    fn finish(self) -> Option<HeaderMap> {
        let digest = BASE64_STANDARD.encode(self.hasher.finish());
        let value = HeaderValue::try_from(format!("{} {digest}", self.algorithm)).ok()?;
        let name = HeaderName::from_static("upload-checksum");
        Some(HeaderMap::from_iter([(name, value)]))
    }
}

fn read_piece(reader: &mut BodyReader, left: u64) -> io::Result<Bytes> {
    // At most 64 KiB, which every usize holds.
    let mut piece = vec![0; usize::try_from(left.min(PIECE)).unwrap_or(usize::MAX)];
    let read = reader.read(&mut piece)?;
    piece.truncate(read);
    if read == 0 {
        // It never ends early without an error, and is not asked beyond its end.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(piece.into())
}

impl fmt::Debug for UploadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadBody")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::task::Waker;
    use std::time::Duration;

    use http::{Request, Response};
    use http_body::Body as _;
    use tus_proto::Terms;

    use super::*;
    use crate::{BoxFuture, Control};

    struct Unused;

    impl AsyncTransport for Unused {
        fn exchange<'a>(
            &'a self,
            _request: Request<UploadBody>,
            _terms: &'a Terms,
            _control: &'a Control,
        ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
            Box::pin(pending())
        }

        fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
            Box::pin(pending())
        }
    }

    #[test]
    fn a_trailer_does_not_end_what_was_stopped() {
        for stopped in [false, true] {
            let source: Arc<dyn Source> = Arc::new("four");
            let exchange = Arc::new(Exchange::default());
            let stack: Arc<dyn AsyncTransport> = Arc::new(Unused);
            let sha1 = Some(&Algorithm::SHA1);
            let mut body = UploadBody::new(&source, &(0..4), &exchange, sha1, &stack).unwrap();
            let cx = &mut Context::from_waker(Waker::noop());
            let mut next = || Pin::new(&mut body).poll_frame(cx);
            assert!(matches!(next(), Poll::Ready(Some(Ok(frame))) if frame.is_data()));
            if stopped {
                exchange.stop();
                for _ in 0..2 {
                    assert!(matches!(next(), Poll::Ready(Some(Err(_)))));
                }
            } else {
                assert!(matches!(next(), Poll::Ready(Some(Ok(frame))) if frame.is_trailers()));
                assert!(matches!(next(), Poll::Ready(None)));
            }
        }
    }
}
