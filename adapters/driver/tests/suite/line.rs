//! A line to a server in memory, and what goes wrong on it.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tus_driver::{Client, Control, Transport, UploadCall};
use tus_proto::{Body, Config, Failure, FailureKind, Terms};
use tus_testkit::{Begun, Options, Server};

pub(crate) const ENDPOINT: &str = "http://server.test/files/";

pub(crate) type Answer = Result<Response<Bytes>, Failure>;

/// What happens to one exchange instead of its being served.
pub(crate) type Trouble =
    Box<dyn FnOnce(&Line, Request<Body>, &mut dyn Read, &Control) -> Answer + Send>;

/// A transport whose n-th exchange meets the n-th trouble, if there is one.
pub(crate) struct Line {
    server: Mutex<Server>,
    troubles: Mutex<VecDeque<Trouble>>,
}

impl Line {
    pub(crate) fn good() -> Arc<Self> {
        Self::with([])
    }

    pub(crate) fn with(troubles: impl IntoIterator<Item = Trouble>) -> Arc<Self> {
        Self::to(Options::default(), troubles)
    }

    pub(crate) fn to(options: Options, troubles: impl IntoIterator<Item = Trouble>) -> Arc<Self> {
        Arc::new(Self {
            server: Mutex::new(Server::new(options)),
            troubles: Mutex::new(troubles.into_iter().collect()),
        })
    }

    pub(crate) fn client(self: &Arc<Self>) -> Client {
        Client::over(Arc::clone(self) as Arc<dyn Transport>)
    }

    /// Every byte goes by PATCH, and nothing is asked before.
    pub(crate) fn upload<'a>(self: &Arc<Self>) -> UploadCall<'a> {
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

    /// The methods of all requests that reached the server.
    pub(crate) fn methods(&self) -> String {
        let methods: Vec<_> = self
            .server()
            .log()
            .iter()
            .map(|record| record.method.to_string())
            .collect();
        methods.join(" ")
    }

    /// Passes the request on, and of its body at most this much, piece by piece.
    pub(crate) fn serve(&self, request: Request<Body>, body: &mut dyn Read, most: u64) -> Answer {
        let (head, range) = request.into_parts();
        let reading = match self.server().begin(&head) {
            Begun::Answered(answer) => return Ok(answer),
            Begun::Reading(reading) => reading,
        };
        let mut body = body.take(most);
        let mut piece = [0; 1000];
        let mut left = range.end - range.start;
        loop {
            match body.read(&mut piece) {
                Ok(0) if left == 0 => return Ok(self.server().finish(reading)),
                Ok(0) => {
                    self.server().abort(reading);
                    return Err(lost());
                }
                Ok(read) => {
                    left = left
                        .checked_sub(read as u64)
                        .expect("never more than was announced");
                    self.server().body(&reading, &piece[..read]);
                }
                Err(error) => {
                    self.server().abort(reading);
                    return Err(Failure::new(FailureKind::Lost, error.to_string()));
                }
            }
        }
    }
}

impl Transport for Line {
    fn exchange(
        &self,
        request: Request<Body>,
        _: &Terms,
        body: &mut dyn Read,
        control: &Control,
    ) -> Answer {
        let trouble = self.troubles.lock().unwrap().pop_front();
        match trouble {
            Some(trouble) => trouble(self, request, body, control),
            None => self.serve(request, &mut control.counted(body), u64::MAX),
        }
    }
}

pub(crate) fn lost() -> Failure {
    Failure::new(FailureKind::Lost, "the line is cut")
}

pub(crate) fn trouble(
    trouble: impl FnOnce(&Line, Request<Body>, &mut dyn Read, &Control) -> Answer + Send + 'static,
) -> Trouble {
    Box::new(trouble)
}

/// Nobody wants to wait for a server that is right here.
pub(crate) fn hasty(config: &mut Config) {
    config.retry.base = Duration::from_millis(1);
    config.retry.max = Duration::from_millis(1);
}

/// No trouble at all.
pub(crate) fn good() -> Trouble {
    trouble(|line, request, body, control| {
        line.serve(request, &mut control.counted(body), u64::MAX)
    })
}

/// The line is cut after so many bytes of the body.
pub(crate) fn cut(bytes: u64) -> Trouble {
    trouble(move |line, request, body, control| {
        let answer = line.serve(request, &mut control.counted(body), bytes);
        drop(answer);
        Err(lost())
    })
}

/// A hang that a test can wait for, and end. Dropping it ends it.
pub(crate) struct Hang {
    pub(crate) begun: Receiver<()>,
    pub(crate) end: Sender<()>,
    /// What the worker found when the hang was over.
    pub(crate) after: Receiver<String>,
}

/// After some bytes the transport neither answers nor hears that it is to stop.
pub(crate) fn hang(bytes: u64) -> (Hang, Trouble) {
    let (tell_begun, begun) = channel();
    let (end, wait) = channel();
    let (tell_after, after) = channel();
    let trouble = trouble(move |line, request, body, control| {
        let mut body = control.counted(body);
        drop(line.serve(request, &mut body, bytes));
        tell_begun.send(()).unwrap();
        let _: Result<(), _> = wait.recv();
        let found = match body.read(&mut [0; 10]) {
            Ok(read) => format!("{read} bytes"),
            Err(error) => error.to_string(),
        };
        let _ = tell_after.send(found);
        Err(lost())
    });
    (Hang { begun, end, after }, trouble)
}

/// Bytes of which no two pieces of a transfer are alike.
pub(crate) fn bytes(length: usize) -> Vec<u8> {
    // Longer than a piece by a little, and prime.
    const PERIOD: usize = 65_537;
    let pattern: Vec<_> = (0..PERIOD)
        .map(|at| u8::try_from((at * 7 + at / 251) % 256).unwrap())
        .collect();
    let mut bytes = pattern.repeat(length.div_ceil(PERIOD));
    bytes.truncate(length);
    bytes
}
