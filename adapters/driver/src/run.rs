//! The loop.

use std::fmt;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tus_proto::{
    Answer, Body, Cancel, Duty, DutyId, Event, Failure, FailureKind, Input, Machine, Op, Output,
    Terms, Tick, UploadUrl, is_protocol_field,
};

use crate::control::Exchange;
use crate::digest::digest;
use crate::reader::BodyReader;
use crate::{Canceller, Control, Entry, Error, Source, Transport};

/// How often the counts of the transport are looked at while they may change.
const GLANCE: Duration = Duration::from_millis(100);

/// Is told of each event.
pub type OnEvent<'a> = Box<dyn FnMut(&Event) + 'a>;
/// Sees each request that goes to a trusted origin, and may change its headers.
pub type OnRequest<'a> = Box<dyn FnMut(&mut Request<Body>, &Terms) + 'a>;
/// Sees each answer, and what it answers.
pub type OnResponse<'a> = Box<dyn FnMut(&Response<Bytes>, Op) + 'a>;
/// Gives fresh credentials, if there are any.
pub type OnChallenge<'a> = Box<dyn FnMut(&Challenge) -> Option<HeaderMap> + 'a>;

/// What [`run`] does beside driving the machine. All of it is called on the thread that called
/// [`run`]; a panic in it ends the run, and is the caller's.
#[non_exhaustive]
#[derive(Default)]
pub struct Options<'a> {
    /// Told of each event.
    pub on_event: Option<OnEvent<'a>>,
    /// Sees each request that goes to a trusted origin, and may change its headers; what the protocol
    /// owns of it is put back afterwards.
    pub on_request: Option<OnRequest<'a>>,
    /// Sees each answer, and what it answers.
    pub on_response: Option<OnResponse<'a>>,
    /// Gives fresh credentials, where the machine asks for them.
    pub authorize: Option<OnChallenge<'a>>,
    /// Where checkpoints are kept; without it they are forgotten.
    pub entry: Option<Entry>,
    /// By which the call can be ended.
    pub canceller: Option<Canceller>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("on_event", &self.on_event.is_some())
            .field("on_request", &self.on_request.is_some())
            .field("on_response", &self.on_response.is_some())
            .field("authorize", &self.authorize.is_some())
            .field("entry", &self.entry)
            .field("canceller", &self.canceller)
            .finish()
    }
}

/// A refusal that fresh credentials may help against.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Challenge {
    /// The URL that refused.
    pub url: UploadUrl,
    /// With this status.
    pub status: StatusCode,
    /// Its `WWW-Authenticate` fields.
    pub challenges: Vec<HeaderValue>,
}

/// What wakes the driver.
#[derive(Debug)]
pub(crate) enum Message {
    Answer(DutyId, Answer),
    Interim(DutyId, Response<()>),
    Wake,
}

/// Drives a machine to its end, on this thread, with each exchange on a thread of its own.
///
/// # Errors
///
/// What the machine ends with; [`Error::Stuck`] where it waits for what cannot come.
pub fn run<M: Machine>(
    mut machine: M,
    transport: &Arc<dyn Transport>,
    source: &Arc<dyn Source>,
    options: &mut Options<'_>,
) -> Result<M::Success, Error> {
    let (workers, messages) = channel();
    let _waking = options
        .canceller
        .as_ref()
        .map(|canceller| canceller.wakes(workers.clone()));
    let epoch = Instant::now();
    let mut driver = Driver {
        epoch,
        glanced: epoch,
        transport,
        source,
        options,
        workers,
        messages,
        out: Vec::new(),
        chores: Vec::new(),
        cancelled: None,
        due: None,
    };
    loop {
        driver.take_counts(&mut machine);
        let until = loop {
            driver.listen(&mut machine);
            match machine.poll(driver.now()) {
                Output::Begin(id, duty) => driver.begin(&mut machine, id, duty),
                Output::Stop(id) => driver.stop(id),
                Output::Event(event) => driver.event(&event),
                Output::Wait(until) => break until,
                Output::Done(result) => return result.map_err(Error::from),
            }
        };
        driver.due = until;
        driver.wait(&mut machine, until)?;
    }
}

struct Driver<'a, 'o> {
    epoch: Instant,
    transport: &'a Arc<dyn Transport>,
    source: &'a Arc<dyn Source>,
    options: &'a mut Options<'o>,
    workers: Sender<Message>,
    messages: Receiver<Message>,
    out: Vec<Out>,
    /// What else is being done, each with what stops it.
    chores: Vec<(DutyId, Arc<Exchange>)>,
    cancelled: Option<Cancel>,
    /// When the machine wants to be polled.
    due: Option<Tick>,
    /// When the counts were last looked at.
    glanced: Instant,
}

/// An exchange that is out.
struct Out {
    id: DutyId,
    op: Op,
    exchange: Arc<Exchange>,
    length: u64,
    /// What the machine was told of the transport's count.
    told: Option<u64>,
}

impl Out {
    /// Whether the count may yet change.
    fn counting(&self) -> bool {
        self.told.unwrap_or(0) < self.length
    }
}

impl Drop for Driver<'_, '_> {
    /// Whatever is still out when the machine is done, or a callback panicked, is stopped.
    fn drop(&mut self) {
        let chores = self.chores.iter().map(|(_, exchange)| exchange);
        for exchange in self.out.iter().map(|out| &out.exchange).chain(chores) {
            exchange.stop();
        }
    }
}

impl Driver<'_, '_> {
    fn now(&self) -> Tick {
        Tick(self.epoch.elapsed())
    }

    // What the machine wants.

    fn begin<M: Machine>(&mut self, machine: &mut M, id: DutyId, duty: Duty) {
        let answer = match duty {
            Duty::Exchange(request, terms) => match self.exchange(id, request, terms) {
                Ok(()) => return,
                Err(failure) => Answer::Failed(failure),
            },
            Duty::Save(checkpoint) => {
                let saved = match (&self.options.entry, &checkpoint) {
                    (None, _) => Ok(()),
                    (Some(entry), Some(checkpoint)) => entry.save(checkpoint),
                    (Some(entry), None) => entry.forget(),
                };
                match saved {
                    Ok(()) => Answer::Saved,
                    Err(error) => {
                        Answer::Failed(Failure::new(FailureKind::Lost, error.to_string()))
                    }
                }
            }
            Duty::Read { keep, upto } => {
                let source = Arc::clone(self.source);
                let read = move |_: &Arc<Exchange>| match source.fill(keep, upto) {
                    Ok(filled) => Answer::Available {
                        upto: filled.upto,
                        end: filled.end,
                    },
                    Err(error) => {
                        Answer::Failed(Failure::new(FailureKind::Source, error.to_string()))
                    }
                };
                match self.chore(id, read) {
                    Ok(()) => return,
                    Err(failure) => Answer::Failed(failure),
                }
            }
            Duty::Digest { algorithm, range } => {
                let source = Arc::clone(self.source);
                let compute = move |exchange: &Arc<Exchange>| {
                    let mut body = BodyReader::new(source, &range, Arc::clone(exchange));
                    let digest = digest(&algorithm, &mut body);
                    match (exchange.source_failure(), digest) {
                        (Some(failure), _) | (None, Err(failure)) => Answer::Failed(failure),
                        (None, Ok(digest)) => Answer::Digest(digest),
                    }
                };
                match self.chore(id, compute) {
                    Ok(()) => return,
                    Err(failure) => Answer::Failed(failure),
                }
            }
            Duty::Authorize {
                uri,
                status,
                challenges,
            } => {
                let challenge = Challenge {
                    url: UploadUrl::from(uri),
                    status,
                    challenges,
                };
                let authorize = self.options.authorize.as_mut();
                Answer::Credentials(authorize.and_then(|authorize| authorize(&challenge)))
            }
        };
        machine.handle(self.now(), Input::Answer(id, answer));
    }

    /// Does something about the source on a thread of its own, which is never waited for.
    fn chore(
        &mut self,
        id: DutyId,
        work: impl FnOnce(&Arc<Exchange>) -> Answer + Send + 'static,
    ) -> Result<(), Failure> {
        let exchange = Arc::new(Exchange::default());
        let stop = Arc::clone(&exchange);
        let driver = self.workers.clone();
        spawn("tus-source", move || {
            let answer = catch_unwind(AssertUnwindSafe(|| work(&exchange))).unwrap_or_else(|_| {
                Answer::Failed(Failure::new(FailureKind::Source, "its reader panicked"))
            });
            // A driver that is gone has no use for it.
            let _ = driver.send(Message::Answer(id, answer));
        })?;
        self.chores.push((id, stop));
        Ok(())
    }

    /// Lets the caller see a request, and puts back what is not the caller's.
    fn show(&mut self, request: &mut Request<Body>, terms: &Terms) {
        let Some(on_request) = self.options.on_request.as_mut().filter(|_| terms.trusted) else {
            return;
        };
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let (range, before) = (request.body().clone(), request.headers().clone());
        on_request(request, terms);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.body_mut() = range;
        let theirs = std::mem::take(request.headers_mut());
        let headers = request.headers_mut();
        for (name, value) in &before {
            if is_protocol_field(name) {
                headers.append(name, value.clone());
            }
        }
        for (name, value) in &theirs {
            if !is_protocol_field(name) {
                let mut value = value.clone();
                value.set_sensitive(true);
                // A map that is full (32,768 lines) takes no more.
                let _ = headers.try_append(name, value);
            }
        }
    }

    /// Starts an exchange on a thread of its own, which is never waited for.
    fn exchange(
        &mut self,
        id: DutyId,
        mut request: Request<Body>,
        terms: Terms,
    ) -> Result<(), Failure> {
        self.show(&mut request, &terms);
        tracing::debug!(
            op = %terms.op,
            method = %request.method(),
            url = %UploadUrl::from(request.uri().clone()),
            from = request.body().start,
            to = request.body().end,
            attempt = terms.attempt,
            "request",
        );
        let exchange = Arc::new(Exchange::default());
        let out = Out {
            id,
            op: terms.op,
            exchange: Arc::clone(&exchange),
            length: request.body().end.saturating_sub(request.body().start),
            told: None,
        };
        let mut body = BodyReader::new(
            Arc::clone(self.source),
            request.body(),
            Arc::clone(&exchange),
        );
        let transport = Arc::clone(self.transport);
        let driver = self.workers.clone();
        let work = move || {
            let control = Control::new(id, Arc::clone(&exchange), driver.clone());
            let body = body.by_ref();
            let answer = catch_unwind(AssertUnwindSafe(|| {
                transport.exchange(request, &terms, body, &control)
            }))
            .unwrap_or_else(|_| {
                Err(Failure::new(
                    FailureKind::Lost,
                    "the transport panicked; please report this as a bug",
                ))
            });
            let answer = match (exchange.source_failure(), answer, exchange.head()) {
                (Some(failure), _, _) | (None, Err(failure), None) => Answer::Failed(failure),
                (None, Ok(response), _) | (None, Err(_), Some(response)) => {
                    Answer::Response(response)
                }
            };
            // A driver that is gone has no use for it.
            let _ = driver.send(Message::Answer(id, answer));
            exchange.over();
        };
        spawn("tus-exchange", work)?;
        self.out.push(out);
        Ok(())
    }

    fn stop(&mut self, id: DutyId) {
        if let Some(at) = self.out.iter().position(|out| out.id == id) {
            tracing::debug!("stopped");
            self.out.swap_remove(at).exchange.stop();
        }
        if let Some(at) = self.chores.iter().position(|(chore, _)| *chore == id) {
            self.chores.swap_remove(at).1.stop();
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            // It would be said ten times a second.
            Event::Sent { .. } => {}
            Event::Retrying {
                op,
                cause,
                attempt,
                after,
            } => tracing::debug!(%op, %cause, attempt, ?after, "retrying"),
            event => tracing::debug!(?event),
        }
        if let Some(on_event) = &mut self.options.on_event {
            on_event(event);
        }
    }

    // What the machine is told.

    fn wait<M: Machine>(&mut self, machine: &mut M, until: Option<Tick>) -> Result<(), Error> {
        // Every other duty is answered as soon as it is begun.
        if until.is_none() && self.out.is_empty() && self.chores.is_empty() {
            return Err(Error::Stuck);
        }
        let left = until.map(|until| until - self.now());
        let glance = self.out.iter().any(Out::counting).then_some(GLANCE);
        let first = match left.into_iter().chain(glance).min() {
            Some(limit) => self.messages.recv_timeout(limit),
            None => self
                .messages
                .recv()
                .map_err(|_| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(message) => self.take(machine, message),
            // The driver holds a sender of its own.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        Ok(())
    }

    /// Tells the machine what has happened before it may find that too much time has passed: the
    /// caller's callback may have taken it.
    fn listen<M: Machine>(&mut self, machine: &mut M) {
        self.take_cancel(machine);
        while let Ok(message) = self.messages.try_recv() {
            self.take(machine, message);
        }
        if self.glanced.elapsed() >= GLANCE {
            self.take_counts(machine);
        }
        if self.due.is_some_and(|due| due <= self.now()) {
            self.take_heads(machine);
        }
    }

    /// What is answered, but for words that are still to come, is answered: it must not be lost to a
    /// deadline.
    fn take_heads<M: Machine>(&mut self, machine: &mut M) {
        for mut out in std::mem::take(&mut self.out) {
            let Some(response) = out.exchange.head() else {
                self.out.push(out);
                continue;
            };
            tracing::debug!(
                status = response.status().as_u16(),
                "answer, its words left out"
            );
            self.take_count(machine, &mut out);
            out.exchange.stop();
            let answer = match out.exchange.source_failure() {
                Some(failure) => Answer::Failed(failure),
                None => {
                    if let Some(on_response) = &mut self.options.on_response {
                        on_response(&response, out.op);
                    }
                    Answer::Response(response)
                }
            };
            machine.handle(self.now(), Input::Answer(out.id, answer));
        }
    }

    fn take<M: Machine>(&mut self, machine: &mut M, message: Message) {
        match message {
            Message::Wake => {}
            Message::Interim(id, response) => {
                if self.out.iter().any(|out| out.id == id) {
                    tracing::debug!(status = response.status().as_u16(), "interim answer");
                    machine.handle(self.now(), Input::Interim(id, response));
                }
            }
            Message::Answer(id, answer) => {
                if let Some(at) = self.chores.iter().position(|(chore, _)| *chore == id) {
                    self.chores.swap_remove(at);
                    machine.handle(self.now(), Input::Answer(id, answer));
                    return;
                }
                // One that was stopped is not listened to.
                let Some(at) = self.out.iter().position(|out| out.id == id) else {
                    return;
                };
                match &answer {
                    Answer::Response(response) => {
                        tracing::debug!(status = response.status().as_u16(), "answer");
                    }
                    Answer::Failed(failure) => {
                        tracing::debug!(kind = ?failure.kind, %failure, "no answer");
                    }
                    _ => {}
                }
                let mut out = self.out.swap_remove(at);
                // An exchange's last count comes before its answer.
                self.take_count(machine, &mut out);
                if let (Answer::Response(response), Some(on_response)) =
                    (&answer, &mut self.options.on_response)
                {
                    on_response(response, out.op);
                }
                machine.handle(self.now(), Input::Answer(id, answer));
            }
        }
    }

    fn take_counts<M: Machine>(&mut self, machine: &mut M) {
        self.glanced = Instant::now();
        let mut out = std::mem::take(&mut self.out);
        for out in &mut out {
            self.take_count(machine, out);
        }
        self.out = out;
    }

    fn take_count<M: Machine>(&self, machine: &mut M, out: &mut Out) {
        let count = out.exchange.count();
        if count == out.told {
            return;
        }
        // That it reports at all is said before how much.
        if out.told.is_none() && count > Some(0) {
            machine.handle(self.now(), Input::Sent(out.id, 0));
        }
        out.told = count;
        if let Some(count) = count {
            machine.handle(self.now(), Input::Sent(out.id, count));
        }
    }

    fn take_cancel<M: Machine>(&mut self, machine: &mut M) {
        let wanted = self
            .options
            .canceller
            .as_ref()
            .and_then(Canceller::cancelled);
        if let Some(how) = wanted.filter(|how| self.cancelled < Some(*how)) {
            tracing::debug!(?how, "cancelled");
            self.cancelled = Some(how);
            machine.handle(self.now(), Input::Cancel(how));
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|error| {
        Failure::new(
            FailureKind::NotSent,
            format!("cannot start a thread: {error}"),
        )
    })
}
