//! The same upload with the same faults is the same sequence of requests, whatever carries it: ureq,
//! hyper, reqwest, and a simulation without sockets, threads or time.

use std::fmt::Write as _;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Request, Response, StatusCode};
use tus_proto::{
    Answer, Config, Duty, Event, Failure, FailureKind, Input, Machine, Output, Tick, Upload,
    is_protocol_field,
};
use tus_testkit::{
    Ending, Fault, FaultPlan, Loopback, Options, Quirk, Reach, Record, Refusing, Server, SplitMix64,
};

const LENGTH: u64 = 300_000;
/// Enough for every shape of a run.
const SEEDS: Range<u64> = 0..40;

fn bytes() -> Bytes {
    let mut random = SplitMix64::new(1);
    (0..LENGTH)
        .map(|_| u8::try_from(random.below(256)).unwrap())
        .collect()
}

/// One run's settings and troubles, all drawn from a seed.
struct Story {
    seed: u64,
    /// So many connections are refused before the first request.
    refused: u32,
    faults: Vec<Option<Fault>>,
    quirks: Vec<Quirk>,
    request_size: Option<u64>,
}

impl Story {
    fn drawn(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let mut faults = vec![None];
        for _ in 0..random.below(8) {
            faults.push(fault(&mut random));
        }
        let quirks = match random.below(3) {
            0 => vec![Quirk::TakesOnly(70_000)],
            _ => vec![],
        };
        let request_size = (random.below(2) == 0).then_some(100_000);
        Self {
            seed,
            refused: u32::try_from(random.below(3)).unwrap(),
            faults,
            quirks,
            request_size,
        }
    }

    fn server(&self) -> Server {
        Server::new(Options {
            quirks: self.quirks.clone(),
            ..Options::default()
        })
    }

    fn plan(&self) -> FaultPlan {
        FaultPlan::scripted(self.faults.clone())
    }

    fn configure(&self, config: &mut Config) {
        config.seed = self.seed + 1;
        config.retry.base = Duration::from_millis(1);
        config.retry.max = Duration::from_millis(2);
        config.retry.attempts = Some(50);
        config.request_size = self.request_size;
        config.creation_body = 0;
        config.metadata.insert("filename", "a.bin").unwrap();
    }
}

/// What every stack sees alike.
fn fault(random: &mut SplitMix64) -> Option<Fault> {
    let unavailable = || {
        let mut response = Response::new(Bytes::from_static(b"come again\n"));
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    };
    match random.below(8) {
        0 => Some(Fault::LoseRequest),
        1 => Some(Fault::LoseAnswer),
        2 | 3 => Some(Fault::Cut {
            after: random.below(LENGTH),
        }),
        4 => Some(Fault::Answer {
            reach: Reach::All,
            response: unavailable(),
        }),
        5 => Some(Fault::Answer {
            reach: Reach::Swallowed,
            response: unavailable(),
        }),
        _ => None,
    }
}

/// Each request as it arrived: what the protocol owns of it, and which bytes it carries.
fn transcript(log: &[Record]) -> String {
    let mut text = String::new();
    for record in log {
        writeln!(text, "{} {}", record.method, record.target).unwrap();
        let mut lines: Vec<_> = record
            .headers
            .iter()
            .filter(|(name, _)| is_said(name))
            .map(|(name, value)| format!("  {name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        writeln!(text, "{}", lines.join("\n")).unwrap();
    }
    text
}

/// Whether the protocol, or the framing of its bytes, owns it. `Host` names a port, which the
/// simulation does not have, and `Connection` is the stack's.
fn is_said(name: &HeaderName) -> bool {
    is_protocol_field(name) && name != "host" && name != "connection"
}

fn simulated(story: &Story) -> String {
    let mut config = Config::default();
    story.configure(&mut config);
    let (mut server, mut plan) = (story.server(), story.plan());
    let source = bytes();
    let mut refused = story.refused;
    // Its URLs are a real server's but for the port, and that is no part of a request.
    let mut machine = Upload::create("http://127.0.0.1/files/", LENGTH, &config).unwrap();
    let mut now = Tick(Duration::ZERO);
    loop {
        match machine.poll(now) {
            Output::Begin(id, Duty::Exchange(request, _)) => {
                let answer = if refused > 0 {
                    refused -= 1;
                    Answer::Failed(Failure::new(FailureKind::NotSent, "refused"))
                } else {
                    let request = request.map(|range| {
                        let [from, to] =
                            [range.start, range.end].map(|at| usize::try_from(at).unwrap());
                        source.slice(from..to)
                    });
                    let outcome = server.exchange(to_path(request), plan.next_fault().as_ref());
                    machine.handle(now, Input::Sent(id, 0));
                    machine.handle(now, Input::Sent(id, outcome.taken));
                    match outcome.ending {
                        Ending::Answer(response) => Answer::Response(response),
                        Ending::NotSent | Ending::Silence(_) => panic!("no such fault is drawn"),
                        Ending::Lost => Answer::Failed(Failure::new(FailureKind::Lost, "lost")),
                    }
                };
                machine.handle(now, Input::Answer(id, answer));
            }
            Output::Begin(id, Duty::Save(_)) => {
                machine.handle(now, Input::Answer(id, Answer::Saved));
            }
            Output::Begin(_, duty) => panic!("nobody asked for {duty:?}"),
            Output::Stop(id) => panic!("{id:?} is stopped"),
            Output::Event(_) => {}
            Output::Wait(until) => now = until.expect("it waits for time"),
            Output::Done(result) => {
                result.unwrap();
                break;
            }
        }
    }
    transcript(server.log())
}

/// What a request line has of a URL.
fn to_path(mut request: Request<Bytes>) -> Request<Bytes> {
    let target = request.uri().path_and_query().unwrap().clone();
    *request.uri_mut() = http::Uri::from(target);
    request
}

/// A server that refuses connections until so many attempts have failed.
struct Peer<'a> {
    story: &'a Story,
    endpoint: String,
    refusing: Option<Refusing>,
    loopback: Option<Loopback>,
}

impl<'a> Peer<'a> {
    fn of(story: &'a Story) -> Self {
        let refusing = Loopback::refusing(story.server());
        let mut peer = Self {
            story,
            endpoint: refusing.endpoint(),
            refusing: Some(refusing),
            loopback: None,
        };
        peer.failed(0);
        peer
    }

    fn failed(&mut self, attempts: u32) {
        if attempts == self.story.refused
            && let Some(refusing) = self.refusing.take()
        {
            let loopback = refusing.listen();
            loopback.set_faults(self.story.plan());
            self.loopback = Some(loopback);
        }
    }

    fn hear(&mut self, event: &Event) {
        if let Event::Retrying { attempt, .. } = event {
            self.failed(*attempt);
        }
    }

    /// What was sent; the file must have arrived.
    fn transcript(&self) -> String {
        let server = self.loopback.as_ref().unwrap().server();
        assert!(server.uploads().any(tus_testkit::Upload::is_complete));
        for upload in server.uploads().filter(|upload| upload.is_complete()) {
            assert!(upload.content() == bytes());
        }
        transcript(server.log())
    }
}

fn over_ureq(story: &Story) -> String {
    let mut peer = Peer::of(story);
    tus_ureq::Client::new()
        .upload(peer.endpoint.clone())
        .config(|config| story.configure(config))
        .on_event(|event| peer.hear(event))
        .send(bytes())
        .unwrap();
    peer.transcript()
}

macro_rules! over {
    ($name:ident, $client:expr) => {
        async fn $name(story: &Story) -> String {
            let mut peer = Peer::of(story);
            $client
                .upload(peer.endpoint.clone())
                .config(|config| story.configure(config))
                .on_event(|event| peer.hear(event))
                .send(bytes())
                .await
                .unwrap();
            peer.transcript()
        }
    };
}

over!(over_hyper, tus_hyper::Client::new());
over!(over_reqwest, tus_reqwest::Client::new());

#[tokio::test]
async fn every_stack_sends_the_same_requests() {
    let (mut requests, mut lost, mut answered, mut refused) = (0, 0, 0, 0);
    for seed in SEEDS {
        let story = Story::drawn(seed);
        let simulated = simulated(&story);
        assert_eq!(over_ureq(&story), simulated, "ureq, seed {seed}");
        assert_eq!(over_hyper(&story).await, simulated, "hyper, seed {seed}");
        assert_eq!(
            over_reqwest(&story).await,
            simulated,
            "reqwest, seed {seed}"
        );
        requests += simulated.matches("tus-resumable").count();
        refused += story.refused;
        for fault in story.faults.iter().flatten() {
            match fault {
                Fault::Answer { .. } => answered += 1,
                _ => lost += 1,
            }
        }
    }
    println!("{requests} requests each, {refused} refused, {lost} lost, {answered} answered 503");
    // Runs in which nothing goes wrong would prove nothing.
    assert!(requests > 200 && lost > 40 && answered > 20 && refused > 20);
}
