//! The loop.

use std::fmt;
use std::io::Read as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use http::{Request, Response, Uri};
use tus_proto::{
    Answer, Body, Cancel, Duty, DutyId, Event, Failure, FailureKind, Input, Machine, Output, Terms,
    Tick,
};

use crate::control::Exchange;
use crate::reader::BodyReader;
use crate::{Canceller, Control, Entry, Error, Source, Transport};

/// How often the counts of the transport are looked at while they may change.
const GLANCE: Duration = Duration::from_millis(100);

/// What is told of each event.
pub(crate) type OnEvent<'a> = Box<dyn FnMut(&Event) + 'a>;

/// What [`run`] does beside driving the machine.
#[non_exhaustive]
#[derive(Default)]
pub struct Options<'a> {
    /// Told of each event, on the thread that called [`run`].
    pub on_event: Option<OnEvent<'a>>,
    /// Where checkpoints are kept; without it they are forgotten.
    pub entry: Option<Entry>,
    /// By which the call can be ended.
    pub canceller: Option<Canceller>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("on_event", &self.on_event.is_some())
            .field("entry", &self.entry)
            .field("canceller", &self.canceller)
            .finish()
    }
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
/// Checksums and fresh credentials are not offered: a machine that asks for the first is told that
/// they cannot be had, and one that asks for the second that there are none.
///
/// # Errors
///
/// What the machine ends with; [`Error::Stuck`] where it waits for what cannot come.
pub fn run<M: Machine>(
    mut machine: M,
    transport: Arc<dyn Transport>,
    source: Arc<dyn Source>,
    options: Options<'_>,
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

struct Driver<'a> {
    epoch: Instant,
    transport: Arc<dyn Transport>,
    source: Arc<dyn Source>,
    options: Options<'a>,
    workers: Sender<Message>,
    messages: Receiver<Message>,
    out: Vec<Out>,
    cancelled: Option<Cancel>,
    /// When the machine wants to be polled.
    due: Option<Tick>,
    /// When the counts were last looked at.
    glanced: Instant,
}

/// An exchange that is out.
struct Out {
    id: DutyId,
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

impl Drop for Driver<'_> {
    /// Whatever is still out when the machine is done, or a callback panicked, is stopped.
    fn drop(&mut self) {
        for out in &self.out {
            out.exchange.stop();
        }
    }
}

impl Driver<'_> {
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
            Duty::Read { .. } => Answer::Available {
                upto: self.source.len(),
                end: true,
            },
            Duty::Authorize { .. } => Answer::Credentials(None),
            Duty::Digest { algorithm, .. } => Answer::Failed(Failure::new(
                FailureKind::Hopeless,
                format!(
                    "this driver computes no digests, and so no {}",
                    algorithm.as_str()
                ),
            )),
        };
        machine.handle(self.now(), Input::Answer(id, answer));
    }

    /// Starts an exchange on a thread of its own, which is never waited for.
    fn exchange(
        &mut self,
        id: DutyId,
        request: Request<Body>,
        terms: Terms,
    ) -> Result<(), Failure> {
        tracing::debug!(
            op = %terms.op,
            method = %request.method(),
            url = %Redacted(request.uri()),
            from = request.body().start,
            to = request.body().end,
            attempt = terms.attempt,
            "request",
        );
        let exchange = Arc::new(Exchange::default());
        let out = Out {
            id,
            exchange: Arc::clone(&exchange),
            length: request.body().end.saturating_sub(request.body().start),
            told: None,
        };
        let mut body = BodyReader::new(
            Arc::clone(&self.source),
            request.body(),
            Arc::clone(&exchange),
        );
        let transport = Arc::clone(&self.transport);
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
        thread::Builder::new()
            .name("tus-exchange".to_owned())
            .spawn(work)
            .map_err(|error| {
                Failure::new(
                    FailureKind::NotSent,
                    format!("cannot start a thread: {error}"),
                )
            })?;
        self.out.push(out);
        Ok(())
    }

    fn stop(&mut self, id: DutyId) {
        if let Some(at) = self.out.iter().position(|out| out.id == id) {
            tracing::debug!("stopped");
            self.out.swap_remove(at).exchange.stop();
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
        if until.is_none() && self.out.is_empty() {
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
            machine.handle(
                self.now(),
                Input::Answer(out.id, Answer::Response(response)),
            );
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

/// A URL without what may be secret in it.
struct Redacted<'a>(&'a Uri);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uri = self.0;
        let host = uri.host().unwrap_or_default();
        write!(f, "{}://{host}", uri.scheme_str().unwrap_or_default())?;
        if let Some(port) = uri.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(uri.path())?;
        f.write_str(if uri.query().is_some() { "?…" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // S3.
    #[test]
    fn what_is_logged_of_a_url_is_no_secret() {
        for (url, shown) in [
            ("https://u:p@h.test:8080/a?key=1", "https://h.test:8080/a?…"),
            ("http://[::1]/a", "http://[::1]/a"),
        ] {
            assert_eq!(Redacted(&Uri::from_static(url)).to_string(), shown);
        }
    }
}
