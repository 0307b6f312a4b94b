//! What the cases are made of.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tus_driver::Source;
use tus_proto::{Body, Failure, FailureKind, Op, Terms};

use super::Outcome;
use super::subject::{Ability, Attempt, Setup, Stack, Subject};
use crate::{Act, Authority, Carrier, Stage};

/// What came of a case; an error is a failure of the subject's.
pub(super) type Done = Result<Outcome, String>;

/// Longer than anything takes that comes at all.
pub(super) const LONG: Duration = Duration::from_secs(20);
/// A limit that is to be reached.
pub(super) const SHORT: Duration = Duration::from_millis(300);

/// A secret in a URL. It must come up in no message.
pub(super) const SECRET: &str = "hush";

/// Ends the case with these words, unless this holds.
macro_rules! ensure {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}
pub(super) use ensure;

/// A subject, over one carrier.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    pub(super) subject: Subject,
    pub(super) carrier: Carrier,
}

impl Bench {
    pub(super) fn stage(&self, lists: impl IntoIterator<Item = Vec<Act>>) -> Stage {
        Stage::start(self.carrier, lists)
    }

    /// A transport that trusts this authority, or nobody in particular.
    pub(super) fn stack(&self, authority: Option<&Authority>) -> Stack {
        self.subject.stack(&Setup {
            carrier: self.carrier,
            authority: authority.cloned(),
        })
    }

    /// A URL in the clear, as one of this carrier.
    pub(super) fn as_carried(&self, url: &str) -> String {
        let scheme = if self.carrier.is_tls() {
            "https:"
        } else {
            "http:"
        };
        url.replacen("http:", scheme, 1)
    }

    /// Why the subject cannot do this here.
    pub(super) fn lacks(&self, what: Ability) -> Option<&str> {
        self.subject.lacks(what, self.carrier)
    }

    /// One exchange without a body, on a transport of its own.
    pub(super) fn ask(
        &self,
        stage: &Stage,
        request: Request<Body>,
        terms: &Terms,
    ) -> Result<Response<Bytes>, Failure> {
        let attempt = Attempt::new("").map_err(|words| Failure::new(FailureKind::Source, words))?;
        self.stack(stage.authority())
            .exchange(&attempt, request, terms)
    }
}

/// What the subject cannot do, and what was shown in its place.
#[expect(clippy::unnecessary_wraps, reason = "it is what a case ends with")]
pub(super) fn instead(reason: &str, recovery: &str) -> Done {
    Ok(Outcome::Instead {
        reason: reason.to_owned(),
        recovery: recovery.to_owned(),
    })
}

/// The request that an upload of five bytes begins with.
pub(super) fn creation(stage: &Stage) -> (Request<Body>, Terms) {
    creation_at(&stage.url(&format!("/files/?key={SECRET}")))
}

pub(super) fn creation_at(url: &str) -> (Request<Body>, Terms) {
    let request = Request::post(url)
        .header("tus-resumable", "1.0.0")
        .header("content-length", "0")
        .header("upload-length", "5")
        .body(0..0);
    (request.expect("a good request"), Terms::new(Op::Create))
}

/// A request without a body, and without a word of its length.
pub(super) fn bare(method: &str, stage: &Stage) -> (Request<Body>, Terms) {
    let request = Request::builder()
        .method(method)
        .uri(stage.url(&format!("/files/1?key={SECRET}")))
        .header("tus-resumable", "1.0.0")
        .body(0..0);
    (request.expect("a good request"), Terms::new(Op::Probe))
}

/// A request that brings this range of the source.
pub(super) fn append(stage: &Stage, range: Body) -> (Request<Body>, Terms) {
    let request = Request::patch(stage.url(&format!("/files/1?key={SECRET}")))
        .header("tus-resumable", "1.0.0")
        .header("content-length", range.end - range.start)
        .header("content-type", "application/offset+octet-stream")
        .header("upload-offset", range.start)
        .body(range);
    (request.expect("a good request"), Terms::new(Op::Append))
}

/// The answer, which there must be.
pub(super) fn answered(
    result: Result<Response<Bytes>, Failure>,
) -> Result<Response<Bytes>, String> {
    result.map_err(|failure| format!("no answer: {}", said(&failure)))
}

/// There must be a failure, of one of these kinds, that tells no secret.
pub(super) fn failed(
    result: Result<Response<Bytes>, Failure>,
    kinds: &[FailureKind],
) -> Result<Failure, String> {
    match result {
        Ok(answer) => Err(format!("an answer: {}, not {kinds:?}", answer.status())),
        Err(failure) => {
            ensure!(
                kinds.contains(&failure.kind),
                "{}, not {kinds:?}",
                said(&failure)
            );
            ensure!(
                !failure.message.contains(SECRET),
                "the message tells a secret of the URL: {failure}"
            );
            Ok(failure)
        }
    }
}

pub(super) fn said(failure: &Failure) -> String {
    format!("{:?}: {failure}", failure.kind)
}

/// Bytes of which no two pieces of a transfer are alike.
pub(super) fn bytes(length: usize) -> Bytes {
    // Longer than a piece by a little, and prime.
    const PERIOD: usize = 65_537;
    let pattern: Vec<_> = (0..PERIOD)
        .map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap_or(0))
        .collect();
    let mut bytes = pattern.repeat(length.div_ceil(PERIOD));
    bytes.truncate(length);
    bytes.into()
}

/// A source that can be watched: how much was read of it, and when nobody holds it any more.
pub(super) struct Watched {
    length: u64,
    /// Where it ends, or fails, before its length.
    breaks: Option<(u64, bool)>,
    read: Arc<AtomicU64>,
    _held: Sender<()>,
}

/// What is seen of a [`Watched`] source.
pub(super) struct Watch {
    read: Arc<AtomicU64>,
    held: Receiver<()>,
}

impl Watched {
    pub(super) fn new(length: u64) -> (Self, Watch) {
        let (held, released) = channel();
        let read = Arc::new(AtomicU64::new(0));
        let watch = Watch {
            read: Arc::clone(&read),
            held: released,
        };
        let watched = Self {
            length,
            breaks: None,
            read,
            _held: held,
        };
        (watched, watch)
    }

    /// Has it end at this byte, before its length.
    pub(super) fn ends_at(self, at: u64) -> Self {
        Self {
            breaks: Some((at, false)),
            ..self
        }
    }

    /// Has it fail at this byte.
    pub(super) fn fails_at(self, at: u64) -> Self {
        Self {
            breaks: Some((at, true)),
            ..self
        }
    }
}

impl Watch {
    /// How many bytes were read.
    pub(super) fn read(&self) -> u64 {
        self.read.load(Ordering::SeqCst)
    }

    /// Waits until nobody holds the source any more, and says whether it came to that.
    pub(super) fn is_released(&self) -> bool {
        use std::sync::mpsc::RecvTimeoutError::Disconnected;
        self.held.recv_timeout(LONG) == Err(Disconnected)
    }
}

impl Source for Watched {
    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let end = match self.breaks {
            Some((end, true)) if at >= end => return Err(io::Error::other("it broke")),
            Some((end, _)) => end,
            None => self.length,
        };
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        let read = left.min(buf.len());
        buf[..read].fill(0);
        self.read.fetch_add(read as u64, Ordering::SeqCst);
        Ok(read)
    }
}

/// An exchange on a thread of its own, and the word of its end.
pub(super) struct Running(Receiver<Result<Response<Bytes>, Failure>>);

impl Running {
    pub(super) fn start(stack: &Stack, attempt: &Attempt, asked: (Request<Body>, Terms)) -> Self {
        let (tell, told) = channel();
        let (stack, attempt) = (stack.clone(), attempt.clone());
        thread::spawn(move || {
            let (request, terms) = asked;
            let result = stack.exchange(&attempt, request, &terms);
            drop((stack, attempt));
            // A case that has failed does not listen.
            let _ = tell.send(result);
        });
        Self(told)
    }

    /// Waits until the exchange has read of its source what it can: until nothing more is read for a
    /// while. A stack that has only paused is stopped all the same.
    pub(super) fn fills_up(&self, watch: &Watch) -> Result<(), String> {
        let mut before = None;
        while before != Some(watch.read()) {
            before = Some(watch.read());
            let ended = self.0.recv_timeout(Duration::from_millis(30));
            ensure!(ended.is_err(), "the exchange ends before it is stopped");
        }
        Ok(())
    }

    /// What it came to; an error, if it does not come to an end.
    pub(super) fn end(&self) -> Result<Result<Response<Bytes>, Failure>, String> {
        self.0
            .recv_timeout(LONG)
            .map_err(|_| format!("the exchange does not end within {LONG:?}"))
    }
}
