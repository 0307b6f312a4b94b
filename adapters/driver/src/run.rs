//! The loop.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tus_proto::{
    Answer, Body, Cancel, Checkpoint, Duty, DutyId, Event, Failure, FailureKind, Input, Machine,
    Op, Output, Terms, Tick, UploadUrl, is_protocol_field,
};

use crate::control::Exchange;
use crate::digest::digest;
use crate::mailbox::Message;
use crate::reader::BodyReader;
use crate::threads::{Threads, now};
use crate::workers::{BoxFuture, Job, Work, Workers};
#[cfg(feature = "async")]
use crate::{AsyncTransport, tasks::Tasks};
use crate::{Canceller, Entry, Error, Source, Transport};

/// How often the counts of the transport are looked at while they may change.
const GLANCE: Duration = Duration::from_millis(100);

/// Is told of each event.
pub type OnEvent<'a> = Box<dyn FnMut(&Event) + Send + 'a>;
/// Sees each request that goes to a trusted origin, and may change its headers.
pub type OnRequest<'a> = Box<dyn FnMut(&mut Request<Body>, &Terms) + Send + 'a>;
/// Sees each answer, and what it answers.
pub type OnResponse<'a> = Box<dyn FnMut(&Response<Bytes>, Op) + Send + 'a>;
/// Gives fresh credentials, if there are any. For [`run`] the future must not wait.
pub type OnChallenge<'a> =
    Box<dyn FnMut(Challenge) -> BoxFuture<'static, Option<HeaderMap>> + Send + 'a>;

/// What [`run`] does beside driving the machine. All of it is called on the thread that called
/// [`run`], or in the task; a panic in it ends the run, and is the caller's.
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
    pub entry: Option<Arc<Entry>>,
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

/// Drives a machine to its end, on this thread, with each exchange on a thread of its own.
///
/// # Errors
///
/// What the machine ends with; [`Error::Stuck`] where it waits for what cannot come.
pub fn run<M: Machine>(
    machine: M,
    transport: &Arc<dyn Transport>,
    source: &Arc<dyn Source>,
    options: &mut Options<'_>,
) -> Result<M::Success, Error> {
    let threads = Threads::new(Arc::clone(transport));
    now(drive(machine, threads, source, options))
}

/// Drives a machine to its end, in this task, with every exchange in it.
///
/// When the future is dropped, no exchange hands anything more over; what was saved last is good to go
/// on from. A checkpoint that is just being written then is written all the same, and its
/// [`Entry`] is [busy](crate::StoreError::Busy) until it is.
///
/// # Errors
///
/// What the machine ends with; [`Error::Stuck`] where it waits for what cannot come.
#[cfg(feature = "async")]
pub async fn run_async<M: Machine>(
    machine: M,
    transport: &Arc<dyn AsyncTransport>,
    source: &Arc<dyn Source>,
    options: &mut Options<'_>,
) -> Result<M::Success, Error> {
    let tasks = Tasks::new(Arc::clone(transport));
    drive(machine, tasks, source, options).await
}

pub(crate) async fn drive<M: Machine, W: Workers>(
    mut machine: M,
    workers: W,
    source: &Arc<dyn Source>,
    options: &mut Options<'_>,
) -> Result<M::Success, Error> {
    let _waking = options
        .canceller
        .as_ref()
        .map(|canceller| canceller.wakes(workers.mailbox().post()));
    let epoch = Instant::now();
    let mut driver = Driver {
        epoch,
        glanced: epoch,
        source,
        options,
        out: Vec::new(),
        chores: Vec::new(),
        cancelled: None,
        due: None,
        workers,
    };
    loop {
        driver.take_counts(&mut machine);
        let until = loop {
            driver.listen(&mut machine).await;
            let polled = Instant::now();
            match machine.poll(driver.tick(polled)) {
                Output::Begin(id, duty) => driver.begin(&mut machine, id, duty, polled),
                Output::Stop(id) => driver.stop(id),
                Output::Event(event) => driver.event(&event),
                Output::Wait(until) => break until,
                Output::Done(result) => {
                    driver.finish(&mut machine).await;
                    return result.map_err(Error::from);
                }
            }
        };
        driver.due = until;
        driver.wait(&mut machine, until).await?;
    }
}

struct Driver<'a, 'o, W> {
    epoch: Instant,
    source: &'a Arc<dyn Source>,
    options: &'a mut Options<'o>,
    out: Vec<Out>,
    chores: Vec<Chore>,
    cancelled: Option<Cancel>,
    /// When the machine wants to be polled, or may by what it was told since.
    due: Option<Tick>,
    /// When the counts were last looked at.
    glanced: Instant,
    /// The last to be dropped: before that, all that is out is stopped.
    workers: W,
}

/// What else is being done.
struct Chore {
    id: DutyId,
    /// What stops it; `None`: it is waited for.
    exchange: Option<Arc<Exchange>>,
}

/// An exchange that is out.
struct Out {
    id: DutyId,
    op: Op,
    exchange: Arc<Exchange>,
    length: u64,
    /// What the machine was told of the transport's count.
    told: Option<u64>,
    /// When the machine asked for it, or it last took a byte.
    heard: Instant,
    /// How long it may be silent while body remains.
    stall: Duration,
    /// How long it may be silent after that.
    answer: Duration,
}

impl Out {
    /// Whether the count may yet change.
    fn counting(&self) -> bool {
        self.told.unwrap_or(0) < self.length
    }

    /// Whether the machine may find that it takes too long. It may allow more than this, never less.
    fn is_late(&self) -> bool {
        self.heard.elapsed() >= self.limit()
    }

    fn limit(&self) -> Duration {
        if self.counting() {
            self.stall
        } else {
            self.answer
        }
    }
}

impl<W> Drop for Driver<'_, '_, W> {
    /// Whatever is still out when the machine is done, a callback panicked, or the future is dropped, is
    /// stopped.
    fn drop(&mut self) {
        let chores = self
            .chores
            .iter()
            .filter_map(|chore| chore.exchange.as_ref());
        for exchange in self.out.iter().map(|out| &out.exchange).chain(chores) {
            exchange.stop();
        }
    }
}

impl<W: Workers> Driver<'_, '_, W> {
    fn now(&self) -> Tick {
        self.tick(Instant::now())
    }

    fn tick(&self, at: Instant) -> Tick {
        Tick(at.saturating_duration_since(self.epoch))
    }

    // What the machine wants.

    /// `polled`: when the machine asked for it, for its time runs from then.
    fn begin<M: Machine>(&mut self, machine: &mut M, id: DutyId, duty: Duty, polled: Instant) {
        let exchange = Arc::new(Exchange::default());
        let stop = Some(Arc::clone(&exchange));
        let (work, exchange) = match duty {
            Duty::Exchange(request, terms) => {
                return self.exchange(machine, id, request, terms, polled);
            }
            Duty::Save(checkpoint) => match self.options.entry.clone() {
                Some(entry) => (save(entry, checkpoint), None),
                None => return machine.handle(self.now(), Input::Answer(id, Answer::Saved)),
            },
            Duty::Read { keep, upto } => {
                let source = Arc::clone(self.source);
                (Work::Fill { source, keep, upto }, stop)
            }
            Duty::Digest { algorithm, range } => {
                let source = Arc::clone(self.source);
                let compute = move || {
                    let mut body = BodyReader::new(source, &range, Arc::clone(&exchange));
                    let digest = digest(&algorithm, &mut body);
                    match (exchange.source_failure(), digest) {
                        (Some(failure), _) | (None, Err(failure)) => Answer::Failed(failure),
                        (None, Ok(digest)) => Answer::Digest(digest),
                    }
                };
                (Work::Chore(Box::new(compute)), stop)
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
                let found = authorize.map(|authorize| authorize(challenge));
                let answer = async {
                    Answer::Credentials(match found {
                        Some(found) => found.await,
                        None => None,
                    })
                };
                (Work::Future(Box::pin(answer)), stop)
            }
        };
        match self.workers.start(id, work) {
            Ok(()) => self.chores.push(Chore { id, exchange }),
            Err(failure) => {
                machine.handle(self.now(), Input::Answer(id, Answer::Failed(failure)));
            }
        }
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

    fn exchange<M: Machine>(
        &mut self,
        machine: &mut M,
        id: DutyId,
        mut request: Request<Body>,
        terms: Terms,
        polled: Instant,
    ) {
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
            heard: polled,
            stall: terms.stall,
            answer: terms.answer,
        };
        let job = Box::new(Job {
            request,
            terms,
            source: Arc::clone(self.source),
            exchange,
        });
        match self.workers.start(id, Work::Exchange(job)) {
            Ok(()) => {
                self.expect(&out);
                self.out.push(out);
            }
            Err(failure) => {
                machine.handle(self.now(), Input::Answer(id, Answer::Failed(failure)));
            }
        }
    }

    fn stop(&mut self, id: DutyId) {
        let out = self.out.iter().position(|out| out.id == id);
        let out = out.map(|at| self.out.swap_remove(at).exchange);
        let chore = self.chores.iter().position(|chore| chore.id == id);
        let chore = chore.and_then(|at| self.chores[at].exchange.is_some().then_some(at));
        let chore = chore.and_then(|at| self.chores.swap_remove(at).exchange);
        if let Some(exchange) = out.or(chore) {
            tracing::debug!("stopped");
            exchange.stop();
            self.workers.leave(id);
        }
    }

    /// What is being saved belongs to the call: whoever makes the next one finds it done.
    async fn finish<M: Machine>(&mut self, machine: &mut M) {
        while self.chores.iter().any(|chore| chore.exchange.is_none()) {
            if let Some(message) = self.workers.wait(None).await {
                self.take(machine, message);
            }
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

    async fn wait<M: Machine>(
        &mut self,
        machine: &mut M,
        until: Option<Tick>,
    ) -> Result<(), Error> {
        if until.is_none() && self.out.is_empty() && self.chores.is_empty() {
            return Err(Error::Stuck);
        }
        let left = until.map(|until| until - self.now());
        let glance = self.out.iter().any(Out::counting).then_some(GLANCE);
        let limit = left.into_iter().chain(glance).min();
        if let Some(message) = self.workers.wait(limit).await {
            self.take(machine, message);
        }
        Ok(())
    }

    /// Tells the machine what has happened before it may find that too much time has passed: the
    /// caller's callback may have taken it.
    async fn listen<M: Machine>(&mut self, machine: &mut M) {
        loop {
            let late = self.is_due();
            if late {
                self.workers.look().await;
            }
            self.take_cancel(machine);
            let mut heard = false;
            while let Some(message) = self.workers.mailbox().take() {
                self.take(machine, message);
                heard = true;
            }
            if late || self.glanced.elapsed() >= GLANCE {
                self.take_counts(machine);
            }
            heard |= late && self.take_heads(machine);
            // What was heard may have taken time, too, and more may have come meanwhile.
            if !heard && late == self.is_due() {
                return;
            }
        }
    }

    fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= self.now())
    }

    /// What is answered, but for words that are still to come, is answered: it must not be lost to a
    /// deadline of its own. Whether there was any.
    fn take_heads<M: Machine>(&mut self, machine: &mut M) -> bool {
        let mut any = false;
        // One by one: should the callback panic, the rest is still there to be stopped.
        let answered = |(at, out): (usize, &Out)| Some((at, out.exchange.head()?));
        let late = |(_, out): &(usize, &Out)| out.is_late();
        while let Some((at, response)) = self.out.iter().enumerate().filter(late).find_map(answered)
        {
            let mut out = self.out.swap_remove(at);
            tracing::debug!(
                status = response.status().as_u16(),
                "answer, its words left out"
            );
            self.take_count(machine, &mut out);
            out.exchange.stop();
            self.workers.leave(out.id);
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
            any = true;
        }
        any
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
                if let Some(at) = self.chores.iter().position(|chore| chore.id == id) {
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

    fn take_count<M: Machine>(&mut self, machine: &mut M, out: &mut Out) {
        let count = out.exchange.count();
        if count == out.told {
            return;
        }
        // That it reports at all is said before how much.
        if out.told.is_none() && count > Some(0) {
            machine.handle(self.now(), Input::Sent(out.id, 0));
        }
        let more = out.counting() && count > Some(0);
        out.told = count;
        if more {
            out.heard = Instant::now();
            self.expect(out);
        }
        if let Some(count) = count {
            machine.handle(self.now(), Input::Sent(out.id, count));
        }
    }

    /// The machine may find that this one takes too long before the time that it said.
    fn expect(&mut self, out: &Out) {
        let at = self.tick(out.heard) + out.limit();
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
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

fn save(entry: Arc<Entry>, checkpoint: Option<Checkpoint>) -> Work {
    Work::Brief(Box::new(move || {
        let saved = match &checkpoint {
            Some(checkpoint) => entry.save(checkpoint),
            None => entry.forget(),
        };
        match saved {
            Ok(()) => Answer::Saved,
            Err(error) => Answer::Failed(Failure::new(FailureKind::Lost, error.to_string())),
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc::{Sender, channel};
    use std::thread;

    use http::Method;

    use super::*;
    use crate::Control;

    const LIMIT: Duration = Duration::from_millis(100);
    const FIRST: DutyId = DutyId { lane: 0, serial: 0 };
    const SECOND: DutyId = DutyId { lane: 1, serial: 0 };

    /// Says what the closure says, which hears what is answered by then.
    struct Script<P> {
        poll: P,
        answered: Vec<DutyId>,
    }

    impl<P> Machine for Script<P>
    where
        P: FnMut(Tick, &[DutyId]) -> Output<()> + Send + 'static,
    {
        type Success = ();

        fn poll(&mut self, now: Tick) -> Output<()> {
            (self.poll)(now, &self.answered)
        }

        fn handle(&mut self, _: Tick, input: Input) {
            if let Input::Answer(id, Answer::Response(_)) = input {
                self.answered.push(id);
            }
        }

        fn checkpoint(&self) -> Option<Checkpoint> {
            None
        }
    }

    /// Has the head of an answer at once, and never its words.
    struct Wordless(Sender<()>);

    impl Transport for Wordless {
        fn exchange(
            &self,
            _: Request<Body>,
            _: &Terms,
            _: &mut dyn Read,
            control: &Control,
        ) -> Result<Response<Bytes>, Failure> {
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::CREATED;
            control.answered(&head);
            self.0.send(()).unwrap();
            let (end, ended) = channel::<()>();
            control.on_stop(move || drop(end));
            let _ = ended.recv();
            Err(Failure::new(FailureKind::Lost, "stopped"))
        }
    }

    /// The same, but for a `DELETE`, which is answered whole. The second hears when that is posted.
    struct HalfWordless(Wordless, Sender<()>);

    impl Transport for HalfWordless {
        fn exchange(
            &self,
            request: Request<Body>,
            terms: &Terms,
            body: &mut dyn Read,
            control: &Control,
        ) -> Result<Response<Bytes>, Failure> {
            if request.method() != Method::DELETE {
                return self.0.exchange(request, terms, body, control);
            }
            let posted = AtDrop(self.1.clone());
            control.on_stop(move || drop(posted));
            Ok(Response::new(Bytes::new()))
        }
    }

    struct AtDrop(Sender<()>);

    impl Drop for AtDrop {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    fn script(
        transport: impl Transport,
        mut options: Options<'_>,
        poll: impl FnMut(Tick, &[DutyId]) -> Output<()> + Send + 'static,
    ) {
        let machine = Script {
            poll,
            answered: Vec::new(),
        };
        let transport = Arc::new(transport) as Arc<dyn Transport>;
        let source = Arc::new("") as Arc<dyn Source>;
        run(machine, &transport, &source, &mut options).unwrap();
    }

    /// An exchange without a body, which may take that long.
    fn exchange(method: Method) -> Duty {
        let mut terms = Terms::new(Op::Create);
        terms.answer = LIMIT;
        let mut request = Request::new(0..0);
        *request.method_mut() = method;
        Duty::Exchange(request, terms)
    }

    #[test]
    fn what_is_answered_during_a_callback_is_not_lost_to_it() {
        let (tell, headed) = channel();
        let options = Options {
            on_event: Some(Box::new(move |_| {
                headed.recv().unwrap();
                thread::sleep(LIMIT);
            })),
            ..Options::default()
        };
        let mut polls = 0;
        script(Wordless(tell), options, move |_, answered| {
            polls += 1;
            match polls {
                1 => Output::Begin(FIRST, exchange(Method::POST)),
                2 => Output::Event(Event::Orphaned),
                _ => {
                    assert_eq!(answered, [FIRST]);
                    Output::Done(Ok(()))
                }
            }
        });
    }

    #[test]
    fn what_is_answered_while_another_answer_is_shown_is_not_lost_to_that() {
        let ((tell, headed), (tell_posted, posted)) = (channel(), channel());
        let options = Options {
            on_response: Some(Box::new(move |response, _| {
                if response.status() == StatusCode::OK {
                    headed.recv().unwrap();
                    thread::sleep(LIMIT);
                }
            })),
            ..Options::default()
        };
        let transport = HalfWordless(Wordless(tell), tell_posted);
        let mut polls = 0;
        script(transport, options, move |_, answered| {
            polls += 1;
            match polls {
                _ if answered.contains(&SECOND) => {
                    assert!(answered.contains(&FIRST));
                    Output::Done(Ok(()))
                }
                1 => Output::Begin(FIRST, exchange(Method::POST)),
                2 => Output::Begin(SECOND, exchange(Method::DELETE)),
                _ => {
                    posted.recv().unwrap();
                    Output::Event(Event::Orphaned)
                }
            }
        });
    }

    #[test]
    fn what_a_callback_takes_is_taken_from_the_exchange() {
        let (tell, headed) = channel();
        let options = Options {
            on_request: Some(Box::new(|_, _| thread::sleep(LIMIT / 2))),
            ..Options::default()
        };
        let (mut polls, mut due) = (0, Tick::default());
        script(Wordless(tell), options, move |now, answered| {
            polls += 1;
            match polls {
                1 => {
                    due = now + LIMIT;
                    Output::Begin(FIRST, exchange(Method::POST))
                }
                2 => {
                    headed.recv().unwrap();
                    Output::Wait(Some(due))
                }
                _ => {
                    assert_eq!(answered, [FIRST]);
                    Output::Done(Ok(()))
                }
            }
        });
    }
}
