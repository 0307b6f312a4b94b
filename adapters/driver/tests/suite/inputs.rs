//! What a machine is told, and in which order.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tus_driver::{Client, Error, Options, Source, Transport, run};
use tus_proto::{
    Authorize, Checkpoint, Config, Event, Input, Machine, Misuse, Output, Tick, Upload,
};

use crate::line::{ENDPOINT, Line, bytes, good, lost, trouble};

/// A machine that notes what it is told.
struct Spy<M> {
    machine: M,
    told: Arc<Mutex<Vec<String>>>,
}

impl<M: Machine> Machine for Spy<M> {
    type Success = M::Success;

    fn poll(&mut self, now: Tick) -> Output<M::Success> {
        self.machine.poll(now)
    }

    fn handle(&mut self, now: Tick, input: Input) {
        let note = match &input {
            Input::Sent(_, bytes) => format!("sent {bytes}"),
            Input::Interim(_, response) => format!("interim {}", response.status().as_u16()),
            Input::Answer(..) => "answer".to_owned(),
            other => format!("{other:?}"),
        };
        self.told.lock().unwrap().push(note);
        self.machine.handle(now, input);
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.machine.checkpoint()
    }
}

/// The source is "hello".
fn drive<M: Machine>(machine: M, line: &Arc<Line>) -> Result<M::Success, Error> {
    let transport = Arc::clone(line) as Arc<dyn Transport>;
    let source: Arc<dyn Source> = Arc::new("hello");
    run(machine, &transport, &source, &mut Options::default())
}

#[test]
fn counts_and_interim_answers_come_before_the_answer() {
    let told = Arc::default();
    let spy = Spy {
        machine: Upload::create(ENDPOINT, 5, &Config::default()).unwrap(),
        told: Arc::clone(&told),
    };
    let interim = trouble(|line, request, body, control| {
        control.interim(Response::builder().status(102).body(()).unwrap());
        line.serve(request, &mut control.counted(body), u64::MAX)
    });
    let line = Line::with([good(), interim]);
    drive(spy, &line).unwrap();
    let told = told.lock().unwrap();
    let patch = told.iter().rposition(|note| note == "sent 0").unwrap();
    // The last answer is that of the Save that forgets the checkpoint.
    let told: Vec<_> = told[patch..].iter().map(String::as_str).collect();
    assert_eq!(
        told.iter()
            .filter(|note| **note != "interim 102")
            .collect::<Vec<_>>(),
        [&"sent 0", &"sent 5", &"answer", &"answer"]
    );
}

#[test]
fn nothing_is_said_for_a_transport_that_says_nothing() {
    let told = Arc::default();
    let spy = Spy {
        machine: Upload::create(ENDPOINT, 5, &Config::default()).unwrap(),
        told: Arc::clone(&told),
    };
    let silent = || trouble(|line, request, body, _| line.serve(request, body, u64::MAX));
    let line = Line::with([silent(), silent()]);
    drive(spy, &line).unwrap();
    let told = told.lock().unwrap();
    assert!(told.iter().all(|note| note == "answer"), "{told:?}");
}

#[test]
fn an_exchange_that_was_stopped_is_not_heard() {
    let told = Arc::default();
    let mut config = Config::default();
    config.timeouts.connect = Duration::ZERO;
    config.timeouts.stall = Duration::from_millis(20);
    config.retry.base = Duration::ZERO;
    let spy = Spy {
        machine: Upload::create(ENDPOINT, 5, &config).unwrap(),
        told: Arc::clone(&told),
    };
    let (tell, done) = channel();
    let late = trouble(move |_, _, _, control| {
        control.sent(0);
        let (stop, stopped) = channel();
        control.on_stop(move || stop.send(()).unwrap());
        stopped.recv().unwrap();
        control.sent(5);
        control.interim(Response::builder().status(103).body(()).unwrap());
        tell.send(()).unwrap();
        Ok(Response::builder()
            .status(204)
            .header("upload-offset", "5")
            .body(Bytes::new())
            .unwrap())
    });
    // The next request waits until all of that was said.
    let wait = trouble(move |line, request, body, _| {
        done.recv().unwrap();
        line.serve(request, body, u64::MAX)
    });
    let line = Line::with([good(), late, wait]);
    drive(spy, &line).unwrap();
    assert_eq!(line.content(), b"hello");
    assert!(!told.lock().unwrap().contains(&"interim 103".to_owned()));
}

/// A machine that waits for nothing.
struct Idle;

impl Machine for Idle {
    type Success = ();

    fn poll(&mut self, _: Tick) -> Output<()> {
        Output::Wait(None)
    }

    fn handle(&mut self, _: Tick, _: Input) {}

    fn checkpoint(&self) -> Option<Checkpoint> {
        None
    }
}

#[test]
fn a_machine_that_waits_for_nothing_is_an_error() {
    let error = drive(Idle, &Line::good()).unwrap_err();
    assert!(matches!(error, Error::Stuck), "{error}");
}

#[test]
fn an_upload_can_be_asked_after() {
    let line = Line::good();
    let done = line
        .upload()
        .metadata("filename", "a.bin")
        .send(bytes(10))
        .unwrap();
    let mut retries = 0;
    let cut = Line::with([trouble(|_, _, _, _| Err(lost()))]);
    std::mem::swap(&mut *cut.server(), &mut *line.server());
    let inspected = Client::over(cut)
        .inspect(done.url.expose())
        .on_event(|event| retries += u32::from(matches!(event, Event::Retrying { .. })))
        .send()
        .unwrap();
    assert_eq!(retries, 1);
    assert_eq!(inspected.complete(), Some(true));
    assert_eq!(
        inspected.metadata.unwrap().get("filename"),
        Some(&b"a.bin"[..])
    );
}

#[test]
fn an_upload_that_exists_is_sent_what_is_missing() {
    let line = Line::good();
    let path = line.server().place(10, 0);
    Client::over(Arc::clone(&line) as _)
        .append(format!("http://server.test{path}"))
        .send(bytes(10))
        .unwrap();
    assert_eq!(line.content(), bytes(10));
    assert_eq!(line.methods(), "HEAD PATCH");
}

#[test]
fn there_are_no_fresh_credentials() {
    let refuse =
        trouble(|_, _, _, _| Ok(Response::builder().status(401).body(Bytes::new()).unwrap()));
    let error = Line::with([refuse])
        .upload()
        .config(|config| config.authorize = Authorize::OnUnauthorized)
        .send("")
        .unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
}

#[test]
fn misuse_is_found_before_any_request() {
    let line = Line::good();
    let error = line
        .upload()
        .metadata("file name", "a")
        .send("")
        .unwrap_err();
    assert!(
        matches!(error, Error::Misuse(Misuse::Metadata(_))),
        "{error}"
    );
    let error = line
        .upload()
        .header("bad header", "a")
        .send("")
        .unwrap_err();
    assert!(matches!(error, Error::Header(_)), "{error}");
    let error = line
        .upload()
        .header("key", "a\nsecret")
        .send("")
        .unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
    let error = line
        .upload()
        .header("upload-offset", "3")
        .send("")
        .unwrap_err();
    assert!(matches!(error, Error::Misuse(Misuse::Header(_))), "{error}");
    let error = Client::over(Arc::clone(&line) as _)
        .upload("files/")
        .send("")
        .unwrap_err();
    assert!(matches!(error, Error::Misuse(Misuse::Url(_))), "{error}");
    assert_eq!(line.methods(), "");
}

#[test]
fn a_future_that_waits_gives_no_credentials_to_who_waits_on_a_thread() {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let options = tus_testkit::Options {
            quirks: vec![tus_testkit::Quirk::Authorization("Bearer new".to_owned())],
            ..tus_testkit::Options::default()
        };
        let transport = Line::to(options, []) as Arc<dyn Transport>;
        let source: Arc<dyn Source> = Arc::new("hello");
        let mut config = Config::default();
        config.authorize = Authorize::OnUnauthorized;
        let machine = Upload::create(ENDPOINT, 5, &config).unwrap();
        let mut options = Options::default();
        options.authorize = Some(Box::new(|_| Box::pin(std::future::pending())));
        let ended = run(machine, &transport, &source, &mut options);
        tell.send(ended).expect("the test waits");
    });
    let ended = told.recv_timeout(Duration::from_secs(20));
    let error = ended.expect("it hangs").unwrap_err();
    assert!(
        matches!(&error, Error::Upload(tus_proto::Error::Rejected { status, .. }) if *status == 401),
        "{error}"
    );
}
