//! A machine of any kind, with any settings.

use std::ops::Range;

use arbitrary::Arbitrary;
use http::{HeaderName, HeaderValue};
use tus_proto::{
    Algorithm, Authorize, Capabilities, Checkpoint, Concatenate, Config, Create, Date, Discover,
    Foreign, Input, Inspect, Machine, Misuse, Origin, Output, Parallel, Terminate, Tick, Upload,
};

use super::checkpoint::sealed;

/// What nobody but the caller's own server may be told: a header, and a password in the endpoint.
pub(super) const SECRETS: [&str; 3] = ["sesame", "pa55word", "bWU6cGE1NXdvcmQ="];
/// What the caller trusts beside its own server, where it trusts anybody.
const TRUSTED: &str = "https://cdn.example";
const MOST_PARTS: u8 = 5;

/// Any machine, which says in words what it comes to.
pub(super) type Any = Box<dyn Machine<Success = String>>;

struct InWords<M>(M);

impl<M: Machine> Machine for InWords<M> {
    type Success = String;

    fn poll(&mut self, now: Tick) -> Output<String> {
        match self.0.poll(now) {
            Output::Begin(id, duty) => Output::Begin(id, duty),
            Output::Stop(id) => Output::Stop(id),
            Output::Event(event) => Output::Event(event),
            Output::Wait(until) => Output::Wait(until),
            Output::Done(result) => Output::Done(result.map(|success| format!("{success:?}"))),
        }
    }

    fn handle(&mut self, now: Tick, input: Input) {
        self.0.handle(now, input);
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.0.checkpoint()
    }
}

fn boxed<M: Machine>(machine: Result<M, Misuse>) -> Option<Any> {
    Some(Box::new(InWords(machine.ok()?)))
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    Upload,
    Append,
    Resume,
    Stream,
    AppendStream,
    ResumeStream,
    Join,
    ResumeParts,
    Discover,
    DiscoverBefore,
    Inspect,
    Create,
    Terminate,
    Concatenate,
}

/// All that is chosen before the machine is made. Of the same size whatever is chosen.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) struct Settings {
    kind: Kind,
    length: u16,
    long: bool,
    parts: u8,
    /// Which parts an earlier run created, and whether it began to join them.
    created: u8,
    /// How an earlier run's last request ended.
    ending: u8,
    switches: u32,
    offered: u16,
    attempts: u8,
    request_size: u8,
    request_min: u8,
    request_multiple: u8,
    at_once: u8,
    wall_clock: u16,
    seed: u8,
}

/// A machine, and what it may do.
pub(super) struct Setup {
    pub(super) machine: Any,
    pub(super) home: Origin,
    pub(super) foreign: Foreign,
    /// Of the source, where it is known from the beginning.
    pub(super) length: Option<u64>,
    /// The source is read as it comes.
    pub(super) streamed: bool,
    /// It is one upload, and comes to a good end when the server has all of it.
    pub(super) appends: bool,
    /// Of the source.
    pub(super) total: u64,
    /// What each part is of it.
    pub(super) parts: Vec<Range<u64>>,
    /// The most failed attempts in a row.
    pub(super) attempts: u32,
}

impl Settings {
    fn switch(&self, bit: u32) -> bool {
        self.switches & 1 << bit != 0
    }

    fn total(&self) -> u64 {
        u64::from(self.length) << if self.long { 20 } else { 0 }
    }

    fn is_secure(&self) -> bool {
        !self.switch(0)
    }

    fn endpoint(&self) -> String {
        let scheme = if self.is_secure() { "https" } else { "http" };
        let user = if self.switch(1) { "me:pa55word@" } else { "" };
        format!("{scheme}://{user}example.org/files/")
    }

    fn foreign(&self) -> Foreign {
        match (self.switch(2), self.switch(3)) {
            (true, false) => Foreign::Refuse,
            (true, true) => Foreign::Trust(vec![TRUSTED.parse().expect("an origin")]),
            _ => Foreign::Bare,
        }
    }

    fn config(&self) -> Config {
        const NAMES: [&str; 9] = [
            "creation",
            "creation-with-upload",
            "creation-defer-length",
            "expiration",
            "checksum",
            "checksum-trailer",
            "termination",
            "concatenation",
            "concatenation-unfinished",
        ];
        let size =
            |size: u8| (size != 0).then(|| u64::from(size) << if self.long { 20 } else { 3 });
        let mut config = Config::default();
        let secret = HeaderValue::from_static(SECRETS[0]);
        config.headers.insert("x-key", secret);
        config.foreign = self.foreign();
        config.request_size = size(self.request_size);
        config.request_min = size(self.request_min);
        config.request_multiple = size(self.request_multiple);
        config.retry.attempts = (self.attempts != u8::MAX).then_some(u32::from(self.attempts) % 16);
        config.authorize = match (self.switch(4), self.switch(5)) {
            (true, false) => Authorize::OnUnauthorized,
            (true, true) => Authorize::When(std::sync::Arc::new(|_| true)),
            _ => Authorize::Never,
        };
        config.server = self.switch(6).then(|| {
            let names = NAMES.iter().enumerate();
            let offered = names.filter(|(n, _)| self.offered & (1 << n) != 0);
            let mut server = Capabilities::default();
            server.extensions = Some(offered.map(|(_, name)| (*name).to_owned()).collect());
            server
        });
        config.try_unoffered = true;
        if self.switch(7) {
            config.checksums = vec![Algorithm::SHA1];
        }
        config.trailers = self.switch(8);
        config.method_override = self.switch(9);
        config.expect_continue = self.switch(10);
        config.stream = self.switch(11);
        config.partial = self.switch(12);
        config.parts.unfinished = self.switch(13);
        config.parts.discard = self.switch(14);
        config.parts.relative = self.switch(15);
        config.request_id = self
            .switch(16)
            .then(|| HeaderName::from_static("x-request-id"));
        config.recreations = u32::from(self.switch(17)) + u32::from(self.switch(18));
        config.parts.at_once = u32::from(self.at_once % 8);
        config.parts.least = 1;
        let moment = Date::from_unix_seconds(u64::from(self.wall_clock));
        config.wall_clock = self.switch(19).then_some(moment);
        if self.switch(20) {
            config
                .metadata
                .insert("filename", "a.bin")
                .expect("metadata");
        }
        config.seed = u64::from(self.seed);
        config
    }

    fn lengths(&self) -> Vec<u64> {
        let parts = u64::from(self.parts % MOST_PARTS) + 1;
        let total = self.total();
        let part = |n| total / parts + u64::from(n < total % parts);
        (0..parts).map(part).collect()
    }

    /// What an earlier run left.
    fn saved(&self, in_parts: bool) -> Option<Checkpoint> {
        let yes = |value: bool| if value { "yes" } else { "no" };
        let endpoint = self.endpoint().replace("me:pa55word@", "");
        let ending = match self.ending % 8 {
            1 => "ending acknowledged\n",
            2 => "ending unsettled\n",
            3 => "ending refused 400 no\n",
            4 => "expires 20000\n",
            _ => "",
        };
        let told = match self.created & 1 {
            0 => String::new(),
            _ => format!("length {}\n", self.total()),
        };
        let whole = match self.created & 0x40 {
            0 => String::new(),
            _ => format!("whole {endpoint}whole\n"),
        };
        let lengths = self.lengths();
        let part = |(n, length): (usize, &u64)| {
            if self.created & 1 << n == 0 {
                format!("part {length}\n")
            } else {
                format!("part {length}\nurl {endpoint}{n}\nspoke yes\n{ending}")
            }
        };
        let rest = if in_parts {
            let parts: String = lengths.iter().enumerate().map(part).collect();
            let joining = yes(self.created & 0x80 != 0);
            let count = lengths.len();
            format!("parts {count}\njoining {joining}\n{whole}{parts}")
        } else {
            let spoke = yes(self.created & 2 != 0);
            format!("url {endpoint}0?c4pability\n{told}spoke {spoke}\n{ending}")
        };
        let text = format!("tus-checkpoint 1\nendpoint {endpoint}\n{rest}");
        sealed(&text).parse().ok()
    }

    /// The machine; `None` where it is refused at once.
    pub(super) fn build(&self) -> Option<Setup> {
        let (endpoint, config) = (self.endpoint(), self.config());
        let url = format!("{endpoint}0?c4pability");
        let part = url.replace("me:pa55word@", "");
        let total = self.total();
        let lengths = self.lengths();
        let mut parts = Vec::from([Range {
            start: 0,
            end: total,
        }]);
        let mut length = Some(total);
        let machine = match self.kind {
            Kind::Upload => boxed(Upload::create(&endpoint, total, &config)),
            Kind::Append => boxed(Upload::append(&url, total, &config)),
            Kind::Resume => boxed(Upload::resume(
                &endpoint,
                self.saved(false)?,
                total,
                &config,
            )),
            Kind::Stream | Kind::AppendStream | Kind::ResumeStream => {
                length = None;
                match self.kind {
                    Kind::Stream => boxed(Upload::create(&endpoint, None, &config)),
                    Kind::AppendStream => boxed(Upload::append(&url, None, &config)),
                    _ => boxed(Upload::resume(&endpoint, self.saved(false)?, None, &config)),
                }
            }
            Kind::Join | Kind::ResumeParts => {
                let mut base = 0;
                parts.clear();
                for length in &lengths {
                    parts.push(base..base + length);
                    base += length;
                }
                match self.kind {
                    Kind::Join => boxed(Parallel::join(&endpoint, &lengths, &config)),
                    _ => boxed(Parallel::resume(
                        &endpoint,
                        self.saved(true)?,
                        total,
                        &config,
                    )),
                }
            }
            Kind::Discover => boxed(Discover::new(&endpoint, &config)),
            Kind::DiscoverBefore => boxed(Discover::before_upload(&endpoint, &config)),
            Kind::Inspect => boxed(Inspect::new(&url, &config)),
            Kind::Create => boxed(Create::new(&endpoint, total, &config)),
            Kind::Terminate => boxed(Terminate::new(&url, &config)),
            Kind::Concatenate => boxed(Concatenate::new(&endpoint, &[&part, &part], &config)),
        }?;
        Some(Setup {
            machine,
            home: endpoint
                .replace("me:pa55word@", "")
                .replace("/files/", "")
                .parse()
                .ok()?,
            foreign: self.foreign(),
            length,
            streamed: length.is_none() || config.stream,
            appends: matches!(self.kind, Kind::Upload | Kind::Append | Kind::Resume),
            total,
            parts,
            attempts: config.retry.attempts.unwrap_or(1_000),
        })
    }
}
