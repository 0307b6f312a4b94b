//! The loop in a task.

use std::fs;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body as _;
use tempfile::TempDir;
use tokio::sync::Notify;
use tus_driver::{
    AsyncClient, AsyncTransport, BoxFuture, Canceller, Control, Error, FileSource, Source, Store,
    UploadBody,
};
use tus_proto::{Algorithm, Cancel, Event, Failure, Terms};
use tus_testkit::{Options, Quirk};

use crate::line::{ENDPOINT, bytes, hasty};
use crate::wire::{Fate, Wire};

/// A file of bytes, and a place for checkpoints.
struct Place(TempDir);

impl Place {
    fn of(length: usize) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("a.bin"), bytes(length)).unwrap();
        Self(folder)
    }

    fn source(&self) -> FileSource {
        FileSource::open(self.0.path().join("a.bin")).unwrap()
    }

    fn store(&self) -> Store {
        Store::at(self.0.path().join("state"))
    }
}

#[tokio::test]
async fn a_file_arrives_in_pieces_of_64_kib_at_most() {
    let wire = Wire::good();
    let place = Place::of(300_000);
    let mut sent = Vec::new();
    let done = wire
        .upload()
        .on_event(|event| {
            if let Event::Sent { offset } = event {
                sent.push(*offset);
            }
        })
        .send(place.source())
        .await
        .unwrap();
    assert_eq!(done.length, 300_000);
    assert!(wire.content() == bytes(300_000));
    assert_eq!(
        *wire.frames.lock().unwrap(),
        [65536, 65536, 65536, 65536, 37856]
    );
    assert!(sent.is_sorted(), "{sent:?}");
    assert_eq!(sent.last(), Some(&300_000));
}

#[tokio::test]
async fn cuts_are_survived() {
    let fates = [
        Fate::Good,
        Fate::Cut(0),
        Fate::Good,
        Fate::Cut(100_000),
        Fate::Panic,
    ];
    let wire = Wire::with(fates);
    wire.upload().send(bytes(300_000)).await.unwrap();
    assert!(wire.content() == bytes(300_000));
}

#[tokio::test]
async fn an_empty_source_is_complete_at_its_creation() {
    let wire = Wire::good();
    wire.upload().send("").await.unwrap();
    assert_eq!(wire.server().log().len(), 1);
}

#[tokio::test]
async fn a_future_that_is_dropped_hands_no_more_over_and_leaves_a_good_checkpoint() {
    let wire = Wire::with([Fate::Good, Fate::Hang(100_000)]);
    let place = Place::of(300_000);
    let upload = || wire.upload().resume_from(place.store());
    tokio::select! {
        _ = upload().send(place.source()) => panic!("it hangs"),
        () = wire.hung.notified() => {}
    }
    assert_eq!(wire.out.lock().unwrap().0, 0, "the exchange is dropped");
    let mut body = wire.kept.lock().unwrap().pop().unwrap();
    let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await;
    assert!(frame.unwrap().is_err(), "nothing more is handed over");

    upload().send(place.source()).await.unwrap();
    assert!(wire.content() == bytes(300_000));
    let log = wire.server().log().to_vec();
    let methods: Vec<_> = log.iter().map(|record| record.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "HEAD", "PATCH"]);
    assert_eq!(log[3].headers["upload-offset"], "100000");
}

#[tokio::test]
async fn a_cancel_ends_what_hangs() {
    for how in [Cancel::Keep, Cancel::Now] {
        let wire = Wire::with([Fate::Good, Fate::Hang(100_000)]);
        let canceller = Canceller::new();
        let upload = wire
            .upload()
            .canceller(canceller.clone())
            .send(bytes(300_000));
        let cancel = async {
            wire.hung.notified().await;
            canceller.cancel(how);
        };
        let (ended, ()) = tokio::join!(upload, cancel);
        let error = ended.unwrap_err();
        assert!(
            matches!(error, Error::Upload(tus_proto::Error::Cancelled { .. })),
            "{error}"
        );
        assert_eq!(wire.out.lock().unwrap().0, 0);
    }
}

#[tokio::test]
async fn many_exchanges_go_on_at_once() {
    let wire = Wire::good();
    wire.upload()
        .parallel(4)
        .config(|config| {
            config.parts.least = 1;
            config.parts.at_once = 4;
        })
        .send(bytes(1_000_000))
        .await
        .unwrap();
    assert_eq!(wire.out.lock().unwrap().1, 4);
    let server = wire.server();
    let mut uploads = server.uploads();
    assert!(uploads.any(|upload| upload.content() == bytes(1_000_000)));
}

#[tokio::test]
async fn several_sources_are_joined() {
    let wire = Wire::good();
    let many = wire.client().upload_many(ENDPOINT, ["he", "l", "lo"]);
    let done = many.send().await.unwrap();
    assert_eq!(done.length, 5);
    let inspected = wire.client().inspect(done.url.expose()).send().await;
    assert_eq!(inspected.unwrap().offset, Some(5));
    let offers = wire.client().discover(ENDPOINT).send().await.unwrap();
    assert!(offers.is_some());
    wire.client()
        .terminate(done.url.expose())
        .send()
        .await
        .unwrap();
    let gone = wire.client().inspect(done.url.expose()).send().await;
    assert!(gone.is_err());
}

#[tokio::test]
async fn the_head_of_an_answer_is_a_fact_though_its_body_never_comes() {
    let wire = Wire::with([Fate::Head]);
    let mut retries = 0;
    let upload = wire
        .upload()
        .config(|config| config.timeouts.answer = Duration::from_secs(3_600))
        .on_event(|event| retries += u32::from(matches!(event, Event::Retrying { .. })))
        .send("hello");
    let patience = Duration::from_secs(20);
    let done = tokio::time::timeout(patience, upload).await;
    done.expect("words are not waited for").unwrap();
    assert_eq!(wire.server().uploads().count(), 1, "it was created once");
    assert_eq!(retries, 0);
    let words = Duration::from_secs(10);
    assert!(wire.slept.lock().unwrap().contains(&words));
}

#[tokio::test]
async fn an_exchange_that_stalls_is_dropped_before_the_next_begins() {
    let wire = Wire::with([Fate::Good, Fate::Hang(100_000)]);
    wire.upload()
        .config(|config| config.timeouts.stall = Duration::from_millis(20))
        .send(bytes(300_000))
        .await
        .unwrap();
    assert!(wire.content() == bytes(300_000));
    assert_eq!(wire.out.lock().unwrap().1, 1);
}

#[tokio::test]
async fn what_is_answered_while_a_callback_takes_its_time_is_answered() {
    // OPTIONS, two creations, and one of the appends.
    let fates = [Fate::Good, Fate::Good, Fate::Good, Fate::Told];
    let wire = Wire::with(fates);
    let mut retries = 0;
    let mut late = false;
    wire.upload()
        .parallel(2)
        .config(|config| {
            config.parts.least = 1;
            config.timeouts.answer_to_body = Duration::from_millis(50);
            config.timeouts.stall = Duration::from_millis(50);
            config.timeouts.connect = Duration::from_millis(0);
        })
        .on_event(|event| match event {
            Event::Retrying { .. } => retries += 1,
            Event::Confirmed { offset: 5, .. } if !late => {
                late = true;
                wire.go.notify_one();
                thread::sleep(Duration::from_millis(200));
            }
            _ => {}
        })
        .send(bytes(10))
        .await
        .unwrap();
    assert!(late);
    assert_eq!(retries, 0);
}

#[tokio::test]
async fn a_stack_of_futures_reports_from_the_beginning() {
    let wire = Wire::with([Fate::Deaf]);
    let trial = tus_driver::Trial::new(bytes(10)).unwrap();
    let mut machine =
        tus_proto::Upload::append("http://server.test/1", 10, &tus_proto::Config::default())
            .unwrap();
    let now = tus_proto::Tick(Duration::ZERO);
    let tus_proto::Output::Begin(_, tus_proto::Duty::Exchange(request, terms)) =
        tus_proto::Machine::poll(&mut machine, now)
    else {
        panic!("no request");
    };
    let stack: Arc<dyn AsyncTransport> = wire;
    let mut exchange = pin!(trial.run_async(&stack, request, &terms));
    let polled = exchange
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    assert_eq!(trial.sent(), Some(0));
}

#[tokio::test]
async fn credentials_are_waited_for_while_the_task_is_free() {
    let options = Options {
        quirks: vec![Quirk::Authorization("Bearer new".to_owned())],
        ..Options::default()
    };
    let wire = Wire::to(options, []);
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&asked), Arc::clone(&go));
    let upload = wire
        .upload()
        .authorize(move |challenge| {
            assert_eq!(challenge.status, 401);
            let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
            async move {
                tell.notify_one();
                wait.notified().await;
                let fields = [("authorization", "Bearer new")];
                let fields =
                    fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
                Some(HeaderMap::from_iter(fields))
            }
        })
        .send("hello");
    let give = async {
        asked.notified().await;
        go.notify_one();
    };
    let (done, ()) = tokio::join!(upload, give);
    done.unwrap();
    assert_eq!(wire.content(), b"hello");
}

#[tokio::test]
async fn a_retry_waits_by_the_transports_clock() {
    // The first retry after a loss is at once.
    let fates = [Fate::Good, Fate::Cut(1), Fate::Good, Fate::Cut(1)];
    let wire = Wire::with(fates);
    let wait = Duration::from_millis(7);
    wire.upload()
        .config(|config| (config.retry.base, config.retry.max) = (wait, wait))
        .send("hello")
        .await
        .unwrap();
    let slept = wire.slept.lock().unwrap();
    let waits = slept.iter().filter(|slept| **slept <= wait).count();
    assert!(waits > 0, "{slept:?}");
}

/// Says which threads read it.
struct Noted {
    threads: Arc<Mutex<Vec<ThreadId>>>,
    in_memory: bool,
}

impl Source for Noted {
    fn length(&self) -> Option<u64> {
        Some(200_000)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.threads.lock().unwrap().push(thread::current().id());
        bytes(200_000).read_at(buf, at)
    }

    fn is_in_memory(&self) -> bool {
        self.in_memory
    }
}

#[tokio::test]
async fn the_task_waits_for_no_file() {
    for in_memory in [false, true] {
        let threads = Arc::default();
        let source = Noted {
            threads: Arc::clone(&threads),
            in_memory,
        };
        Wire::good()
            .upload()
            .config(|config| config.checksums = vec![Algorithm::SHA1])
            .config(|config| config.trailers = false)
            .send(source)
            .await
            .unwrap();
        let threads = threads.lock().unwrap();
        let here = threads
            .iter()
            .filter(|id| **id == thread::current().id())
            .count();
        // The trailer's digest comes of what is sent, so each byte is read once.
        assert_eq!(here, if in_memory { 4 } else { 0 });
        assert_eq!(threads.len(), 4);
    }
}

#[tokio::test]
async fn checksums_follow_the_body() {
    let wire = Wire::good();
    wire.upload()
        .config(|config| config.checksums = vec![Algorithm::SHA256])
        .send(bytes(100_000))
        .await
        .unwrap();
    let log = wire.server().log().to_vec();
    let patch = log.iter().find(|record| record.method == "PATCH").unwrap();
    assert_eq!(patch.headers["trailer"], "Upload-Checksum");
    assert!(!patch.headers.contains_key("content-length"));
    let digest = tus_testkit::checksum("sha256", &bytes(100_000)).unwrap();
    let digest = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest);
    let trailer = format!("sha256 {digest}");
    assert_eq!(patch.trailers["upload-checksum"], trailer.as_str());
}

#[tokio::test]
async fn a_source_that_panics_or_fails_ends_the_upload_and_not_the_task() {
    type Read = fn() -> io::Result<usize>;
    struct Bad(Read);
    impl Source for Bad {
        fn length(&self) -> Option<u64> {
            Some(5)
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            (self.0)()
        }
    }
    let bad: [(Read, &str); 3] = [
        (|| panic!("by design"), "its reader panicked"),
        (|| Err(io::Error::other("torn")), "torn"),
        (|| Ok(0), "it ends at byte 0"),
    ];
    for (read, words) in bad {
        let error = Wire::good().upload().send(Bad(read)).await.unwrap_err();
        assert!(
            matches!(error, Error::Upload(tus_proto::Error::Source { .. })),
            "{error}"
        );
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// A transport on which some work is never done, or done when the test says so.
struct Slow {
    wire: Arc<Wire>,
    work: Mutex<Vec<Box<dyn FnOnce() + Send>>>,
    asked: Notify,
    /// How many pieces of work are done as ever.
    prompt: AtomicUsize,
    drops: bool,
}

impl Slow {
    fn new(prompt: usize, drops: bool) -> Arc<Self> {
        Arc::new(Self {
            wire: Wire::good(),
            work: Mutex::default(),
            asked: Notify::new(),
            prompt: AtomicUsize::new(prompt),
            drops,
        })
    }

    fn client(self: &Arc<Self>) -> AsyncClient {
        AsyncClient::over(Arc::clone(self) as Arc<dyn AsyncTransport>)
    }
}

impl AsyncTransport for Slow {
    fn exchange<'a>(
        &'a self,
        request: Request<UploadBody>,
        terms: &'a Terms,
        control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
        self.wire.exchange(request, terms, control)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.wire.sleep(duration)
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) {
        let left = self.prompt.load(Ordering::SeqCst);
        if left > 0 {
            self.prompt.store(left - 1, Ordering::SeqCst);
            work();
        } else if !self.drops {
            self.work.lock().unwrap().push(work);
            self.asked.notify_one();
        }
    }
}

#[tokio::test]
async fn work_that_a_runtime_drops_is_a_failure_and_no_hang() {
    let slow = Slow::new(0, true);
    let place = Place::of(100_000);
    let config = |config: &mut tus_proto::Config| {
        hasty(config);
        config.creation_body = 0;
    };
    let upload = slow.client().upload(ENDPOINT).config(config);
    let error = upload.send(place.source()).await.unwrap_err();
    assert!(
        matches!(error, Error::Upload(tus_proto::Error::Source { .. })),
        "{error}"
    );
    let stored = slow.client().upload(ENDPOINT).resume_from(place.store());
    let error = stored.send(place.source()).await.unwrap_err();
    assert!(matches!(error, Error::Stuck), "{error}");
}

#[tokio::test]
async fn a_call_that_is_cancelled_ends_when_what_it_saves_is_saved() {
    // The entry is made and read; the first checkpoint is held up.
    let slow = Slow::new(2, false);
    let place = Place::of(100_000);
    let canceller = Canceller::new();
    let upload = slow
        .client()
        .upload(ENDPOINT)
        .config(|config| config.creation_body = 0)
        .canceller(canceller.clone())
        .resume_from(place.store())
        .send(place.source());
    let mut upload = pin!(upload);
    tokio::select! {
        _ = &mut upload => panic!("nothing is saved yet"),
        () = slow.asked.notified() => {}
    }
    canceller.cancel(Cancel::Now);
    tokio::select! {
        biased;
        _ = &mut upload => panic!("nothing is saved yet"),
        () = tokio::task::yield_now() => {}
    }
    let work = slow.work.lock().unwrap().pop().unwrap();
    work();
    upload.await.unwrap_err();
    let entry = place
        .store()
        .entry(&place.0.path().join("a.bin"), ENDPOINT)
        .unwrap();
    assert!(entry.load().unwrap().is_some(), "and is nobody's any more");
}

/// A client without a runtime: time is a thread's, and so is the task.
struct Plain(Arc<Wire>);

impl AsyncTransport for Plain {
    fn exchange<'a>(
        &'a self,
        request: Request<UploadBody>,
        terms: &'a Terms,
        control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
        self.0.exchange(request, terms, control)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = Instant::now() + duration;
        Box::pin(std::future::poll_fn(move |cx| {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            thread::spawn(move || {
                thread::sleep(left);
                waker.wake();
            });
            Poll::Pending
        }))
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(done) => return done,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn no_runtime_is_needed() {
    let wire = Wire::with([Fate::Good, Fate::Cut(100_000), Fate::Good, Fate::Cut(0)]);
    let client = AsyncClient::new(Plain(Arc::clone(&wire)));
    let place = Place::of(300_000);
    let upload = client
        .upload(ENDPOINT)
        .config(hasty)
        .config(|config| config.creation_body = 0)
        .resume_from(place.store());
    block_on(upload.send(place.source())).unwrap();
    assert!(wire.content() == bytes(300_000));
}

#[tokio::test]
async fn what_is_wrong_with_a_call_is_said_before_anything_is_sent() {
    let wire = Wire::good();
    let error = wire.upload().header("a b", "c").send("").await.unwrap_err();
    assert!(matches!(error, Error::Header(_)), "{error}");
    assert_eq!(wire.server().log().len(), 0);
}

/// Nothing is ever answered, and no time passes.
struct Never;

impl AsyncTransport for Never {
    fn exchange<'a>(
        &'a self,
        _request: Request<UploadBody>,
        _terms: &'a Terms,
        _control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
        Box::pin(std::future::pending())
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

/// Does this on a thread, and gives up where it hangs.
fn in_time<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || tell.send(work()));
    let told = told.recv_timeout(Duration::from_secs(20));
    told.expect("it hangs")
}

#[test]
fn a_call_may_be_dropped_by_its_waker() {
    /// As an executor does that is gone.
    struct Drops(Mutex<Option<BoxFuture<'static, ()>>>);
    impl Wake for Drops {
        fn wake(self: Arc<Self>) {
            let future = self.0.lock().unwrap().take();
            drop(future);
        }
    }
    let canceller = Canceller::new();
    let upload = AsyncClient::new(Never)
        .upload(ENDPOINT)
        .canceller(canceller.clone())
        .send("hello");
    let mut future: BoxFuture<'static, ()> = Box::pin(async { drop(upload.await) });
    let drops = Arc::new(Drops(Mutex::default()));
    let waker = Waker::from(Arc::clone(&drops));
    assert!(
        future
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    *drops.0.lock().unwrap() = Some(future);
    in_time(move || canceller.cancel(Cancel::Keep));
    assert!(drops.0.lock().unwrap().is_none());
}

/// The first exchange panics before there is a future of it.
struct Abrupt(Arc<Wire>, AtomicUsize);

impl AsyncTransport for Abrupt {
    fn exchange<'a>(
        &'a self,
        request: Request<UploadBody>,
        terms: &'a Terms,
        control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
        assert!(self.1.fetch_add(1, Ordering::SeqCst) > 0, "by design");
        self.0.exchange(request, terms, control)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }
}

#[tokio::test]
async fn what_panics_before_it_is_a_future_does_not_take_the_task_with_it() {
    struct Bad;
    impl Source for Bad {
        fn length(&self) -> Option<u64> {
            None
        }
        fn fill_async(
            &self,
            _: u64,
            _: u64,
        ) -> Option<BoxFuture<'_, io::Result<tus_driver::Filled>>> {
            panic!("by design")
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Ok(0)
        }
    }
    let wire = Wire::good();
    let client = AsyncClient::new(Abrupt(Arc::clone(&wire), AtomicUsize::new(0)));
    let upload = client.upload(ENDPOINT).config(hasty);
    upload.send(bytes(100_000)).await.unwrap();
    assert!(wire.content() == bytes(100_000));
    let error = Wire::good().upload().send(Bad).await.unwrap_err();
    assert!(error.to_string().contains("its reader panicked"), "{error}");
}

/// The words of its first answer never come. Each exchange has one more of what it holds.
struct Wordless(Arc<()>, AtomicUsize);

impl AsyncTransport for Wordless {
    fn exchange<'a>(
        &'a self,
        request: Request<UploadBody>,
        _terms: &'a Terms,
        control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
        let counted = Arc::clone(&self.0);
        let out = Arc::strong_count(&self.0) - 1;
        self.1.fetch_max(out, Ordering::SeqCst);
        Box::pin(async move {
            let answer = Response::builder().status(204).header("upload-offset", "5");
            let answer = answer.body(Bytes::new()).unwrap();
            if request.method() == "POST" {
                let head = Response::builder().status(201).header("location", "/1");
                control.answered(&head.body(()).unwrap());
                return std::future::pending().await;
            }
            let (_, mut body) = request.into_parts();
            while let Some(frame) =
                std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await
            {
                frame.unwrap();
            }
            drop(counted);
            Ok(answer)
        })
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

#[tokio::test]
async fn an_exchange_whose_words_are_not_waited_for_is_dropped() {
    let wordless = Arc::new(Wordless(Arc::default(), AtomicUsize::new(0)));
    AsyncClient::over(Arc::clone(&wordless) as Arc<dyn AsyncTransport>)
        .upload(ENDPOINT)
        .config(|config| {
            config.creation_body = 0;
            config.timeouts.connect = Duration::from_millis(20);
            config.timeouts.answer = Duration::from_millis(20);
            config.timeouts.stall = Duration::from_millis(20);
        })
        .send("hello")
        .await
        .unwrap();
    assert_eq!(wordless.1.load(Ordering::SeqCst), 1);
}

#[test]
fn a_reader_that_hangs_does_not_hold_the_runtime() {
    struct Hangs(std::sync::mpsc::Receiver<()>, Arc<Notify>);
    impl io::Read for Hangs {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            self.1.notify_one();
            let _ = self.0.recv();
            Ok(0)
        }
    }
    let (keep, kept) = std::sync::mpsc::channel();
    in_time(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let reads = Arc::new(Notify::new());
            let canceller = Canceller::new();
            let source = tus_driver::ReaderSource::new(Hangs(kept, Arc::clone(&reads)));
            let wire = Wire::good();
            let upload = wire.upload().canceller(canceller.clone()).send(source);
            let cancel = async {
                reads.notified().await;
                canceller.cancel(Cancel::Keep);
            };
            let (ended, ()) = tokio::join!(upload, cancel);
            ended.unwrap_err();
        });
    });
    drop(keep);
}
