//! A transport of futures to a server in memory, and what goes wrong on it.

use std::collections::VecDeque;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use tokio::sync::Notify;
use tokio::task;
use tus_driver::{AsyncClient, AsyncTransport, BoxFuture, Control, UploadBody, UploadCall};
use tus_proto::{Failure, FailureKind, Terms};
use tus_testkit::{Begun, Options, Server};

use crate::line::{Answer, ENDPOINT, hasty, lost};

/// What happens to one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Good,
    /// The line is cut after so many bytes of the body.
    Cut(u64),
    /// Nothing more happens after so many bytes of the body.
    Hang(u64),
    Panic,
    /// The head of the answer comes, and its body never does.
    Head,
    /// Nothing is taken of the body.
    Deaf,
    /// It ends as soon as it is polled after the test said so.
    Told,
}

/// A transport whose n-th exchange has the n-th fate; what comes after them is good.
pub(crate) struct Wire {
    server: Mutex<Server>,
    fates: Mutex<VecDeque<Fate>>,
    /// The bodies of exchanges that hung, as a stack may keep them.
    pub(crate) kept: Mutex<Vec<UploadBody>>,
    /// Told when an exchange hangs.
    pub(crate) hung: Notify,
    /// What [`Fate::Told`] waits for.
    pub(crate) go: Notify,
    /// How many exchanges are out now, and how many were at most.
    pub(crate) out: Mutex<(usize, usize)>,
    /// The lengths of all frames.
    pub(crate) frames: Mutex<Vec<usize>>,
    /// The times that were slept.
    pub(crate) slept: Mutex<Vec<Duration>>,
}

impl Wire {
    pub(crate) fn good() -> Arc<Self> {
        Self::with([])
    }

    pub(crate) fn with(fates: impl IntoIterator<Item = Fate>) -> Arc<Self> {
        Self::to(Options::default(), fates)
    }

    pub(crate) fn to(options: Options, fates: impl IntoIterator<Item = Fate>) -> Arc<Self> {
        Arc::new(Self {
            server: Mutex::new(Server::new(options)),
            fates: Mutex::new(fates.into_iter().collect()),
            kept: Mutex::default(),
            hung: Notify::new(),
            go: Notify::new(),
            out: Mutex::default(),
            frames: Mutex::default(),
            slept: Mutex::default(),
        })
    }

    pub(crate) fn client(self: &Arc<Self>) -> AsyncClient {
        AsyncClient::over(Arc::clone(self) as Arc<dyn AsyncTransport>)
    }

    /// Every byte goes by PATCH, and nothing is asked before.
    pub(crate) fn upload<'a>(self: &Arc<Self>) -> UploadCall<'a, tus_driver::Async> {
        self.client().upload(ENDPOINT).config(|config| {
            hasty(config);
            config.creation_body = 0;
        })
    }

    pub(crate) fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    /// What the server has of its only upload.
    pub(crate) fn content(&self) -> Vec<u8> {
        let server = self.server();
        let uploads: Vec<_> = server.uploads().collect();
        assert_eq!(uploads.len(), 1);
        uploads[0].content().to_vec()
    }

    async fn serve(&self, request: Request<UploadBody>, fate: Fate) -> Answer {
        let (mut head, mut body) = request.into_parts();
        if head.headers.contains_key("trailer") {
            let chunked = http::HeaderValue::from_static("chunked");
            head.headers.insert("transfer-encoding", chunked);
        }
        let length = head.headers.get("content-length");
        let length = length.map(|length| length.to_str().unwrap().parse().unwrap());
        assert_eq!(
            body.is_end_stream(),
            length.unwrap_or(0) == 0 && !head.headers.contains_key("trailer")
        );
        if !head.headers.contains_key("trailer") {
            assert_eq!(body.size_hint().exact(), Some(length.unwrap_or(0)));
        }
        let reading = match self.server().begin(&head) {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Reading(reading) => reading,
        };
        let mut most = match fate {
            Fate::Cut(most) | Fate::Hang(most) if !body.is_end_stream() => most,
            _ => u64::MAX,
        };
        loop {
            // Others are let in between.
            if fate != Fate::Told {
                task::yield_now().await;
            }
            let hint = body.size_hint();
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let frame = match frame {
                None => return Ok(self.server().finish(reading)),
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.server().abort(reading);
                    return Err(Failure::new(FailureKind::Lost, error.to_string()));
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    assert!(data.len() as u64 <= hint.lower());
                    self.frames.lock().unwrap().push(data.len());
                    let taken = data.len().min(usize::try_from(most).unwrap_or(usize::MAX));
                    self.server().body(&reading, &data[..taken]);
                    most -= taken as u64;
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().expect("data or trailers");
                    self.server().trailers(&reading, &trailers);
                }
            }
            if most > 0 {
                continue;
            }
            self.server().abort(reading);
            if let Fate::Cut(_) = fate {
                return Err(lost());
            }
            self.kept.lock().unwrap().push(body);
            self.hung.notify_one();
            return pending().await;
        }
    }
}

impl AsyncTransport for Wire {
    fn exchange<'a>(
        &'a self,
        request: Request<UploadBody>,
        terms: &'a Terms,
        control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
        let fate = self.fates.lock().unwrap().pop_front();
        Box::pin(async move {
            let _out = Out::of(self);
            match fate.unwrap_or(Fate::Good) {
                Fate::Panic => panic!("by design"),
                Fate::Head => {
                    let answer = self.serve(request, Fate::Good).await?;
                    let answer = answer.map(|_| Stuck);
                    Ok(tus_driver::read_answer(answer, terms, control, self).await)
                }
                Fate::Deaf => pending().await,
                Fate::Told => {
                    self.go.notified().await;
                    self.serve(request, Fate::Told).await
                }
                fate => self.serve(request, fate).await,
            }
        })
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.slept.lock().unwrap().push(duration);
        // Nobody wants to wait for words that do not come.
        let duration = duration.min(Duration::from_millis(500));
        Box::pin(tokio::time::sleep(duration))
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) {
        task::spawn_blocking(work);
    }

    fn sends_trailers(&self) -> bool {
        true
    }
}

/// An exchange that is out, until it is dropped.
struct Out<'a>(&'a Wire);

impl<'a> Out<'a> {
    fn of(wire: &'a Wire) -> Self {
        let mut out = wire.out.lock().unwrap();
        out.0 += 1;
        out.1 = out.1.max(out.0);
        Self(wire)
    }
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        self.0.out.lock().unwrap().0 -= 1;
    }
}

/// A body that gives nothing, and does not end.
struct Stuck;

impl http_body::Body for Stuck {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}
