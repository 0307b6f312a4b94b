//! S1, S2, S5, S7: every way in which a client can be led elsewhere, to every kind of place, under
//! every policy.

use std::collections::BTreeMap;

use http::{HeaderMap, Request};
use tus_proto::{
    Answer, Authorize, Body, Checkpoint, Concatenate, Config, Create, Discover, Error, Event,
    Foreign, Inspect, Misuse, Parallel, Refusal, Terminate, Upload,
};

use super::{BASIC, SECRET, Story, answer, conceals, lost, origin, run};
use crate::scenario::headers;

use Leads::{Away, Down, Home, Nowhere, Up};

/// What a place comes to, if a server at `home.test` names it. `~` is the scheme that was asked.
#[derive(Clone, Copy, Debug)]
enum Leads {
    /// To this URL, which is the user's own.
    Home(&'static str),
    /// To this URL, with https where http was said.
    Up(&'static str),
    /// To this URL, which is somebody else's.
    Away(&'static str),
    /// Out of https.
    Down,
    /// It is no URL, or one that two parsers read differently.
    Nowhere,
}

/// What is named; what that is to one who began with https, and with http.
const TARGETS: &[(&str, Leads, Leads)] = &[
    // Home, in every spelling.
    (
        "/1?k=s3cr3t",
        Home("~://home.test/1?k=s3cr3t"),
        Home("~://home.test/1?k=s3cr3t"),
    ),
    (
        "//home.test/1",
        Home("~://home.test/1"),
        Home("~://home.test/1"),
    ),
    (
        "https://home.test/1?k=s3cr3t",
        Home("https://home.test/1?k=s3cr3t"),
        Home("https://home.test/1?k=s3cr3t"),
    ),
    (
        "https://home.test:443/1",
        Home("https://home.test/1"),
        Home("https://home.test/1"),
    ),
    (
        "https://home.test:/1",
        Home("https://home.test/1"),
        Home("https://home.test/1"),
    ),
    (
        "HTTPS://HOME.Test/1",
        Home("https://home.test/1"),
        Home("https://home.test/1"),
    ),
    (
        "http://home.test/1?k=s3cr3t",
        Up("https://home.test/1?k=s3cr3t"),
        Home("http://home.test/1?k=s3cr3t"),
    ),
    (
        "http://home.test:80/1",
        Up("https://home.test/1"),
        Home("http://home.test/1"),
    ),
    (
        "http://home.test:443/1",
        Up("https://home.test/1"),
        Away("http://home.test:443/1"),
    ),
    // What looks like another host, and is a path at home.
    (
        "///evil.test/1",
        Home("~://home.test/evil.test/1"),
        Home("~://home.test/evil.test/1"),
    ),
    (
        "/..//evil.test/1",
        Home("~://home.test//evil.test/1"),
        Home("~://home.test//evil.test/1"),
    ),
    ("https://", Home("https://home.test/"), Nowhere),
    (
        "https:///evil.test/1",
        Home("https://home.test/evil.test/1"),
        Nowhere,
    ),
    // Another port, another host, and hosts that look like home.
    (
        "https://home.test:8443/1?k=s3cr3t",
        Away("https://home.test:8443/1?k=s3cr3t"),
        Away("https://home.test:8443/1?k=s3cr3t"),
    ),
    (
        "http://home.test:8080/1?k=s3cr3t",
        Down,
        Away("http://home.test:8080/1?k=s3cr3t"),
    ),
    (
        "https://evil.test/1?k=s3cr3t",
        Away("https://evil.test/1?k=s3cr3t"),
        Away("https://evil.test/1?k=s3cr3t"),
    ),
    (
        " https://evil.test/1 ",
        Away("https://evil.test/1"),
        Away("https://evil.test/1"),
    ),
    (
        "http://evil.test/1?k=s3cr3t",
        Down,
        Away("http://evil.test/1?k=s3cr3t"),
    ),
    (
        "//evil.test/1?k=s3cr3t",
        Away("~://evil.test/1?k=s3cr3t"),
        Away("~://evil.test/1?k=s3cr3t"),
    ),
    (
        "https://sub.home.test/1",
        Away("https://sub.home.test/1"),
        Away("https://sub.home.test/1"),
    ),
    (
        "https://home.test.evil.test/1",
        Away("https://home.test.evil.test/1"),
        Away("https://home.test.evil.test/1"),
    ),
    (
        "https://home.test./1",
        Away("https://home.test./1"),
        Away("https://home.test./1"),
    ),
    ("http://home.test./1", Down, Away("http://home.test./1")),
    (
        "https://xn--hme-sna.test/1",
        Away("https://xn--hme-sna.test/1"),
        Away("https://xn--hme-sna.test/1"),
    ),
    (
        "https://127.0.0.1/1",
        Away("https://127.0.0.1/1"),
        Away("https://127.0.0.1/1"),
    ),
    (
        "https://[0::1]/1",
        Away("https://[::1]/1"),
        Away("https://[::1]/1"),
    ),
    (
        "https://evil.test#@home.test/s3cr3t",
        Away("https://evil.test/"),
        Away("https://evil.test/"),
    ),
    (
        "https://evil.test?@home.test/s3cr3t",
        Away("https://evil.test/?@home.test/s3cr3t"),
        Away("https://evil.test/?@home.test/s3cr3t"),
    ),
    (
        "https://evil.test/@home.test/1",
        Away("https://evil.test/@home.test/1"),
        Away("https://evil.test/@home.test/1"),
    ),
    // S3: user information is not for a server to choose.
    ("https://s3cr3t:s3cr3t@home.test/1", Nowhere, Nowhere),
    ("https://home.test@evil.test/1?k=s3cr3t", Nowhere, Nowhere),
    ("https://home.test:443@evil.test/1", Nowhere, Nowhere),
    ("https://evil.test%2f@home.test/1", Nowhere, Nowhere),
    ("//s3cr3t@evil.test/1", Nowhere, Nowhere),
    // S5: what parsers disagree on.
    ("\\\\evil.test\\1?k=s3cr3t", Nowhere, Nowhere),
    ("/\\evil.test/1", Nowhere, Nowhere),
    ("https:\\\\evil.test/1", Nowhere, Nowhere),
    ("https://evil.test\\@home.test/1", Nowhere, Nowhere),
    ("/1\t?k=s3cr3t", Nowhere, Nowhere),
    ("ht\ttps://evil.test/1", Nowhere, Nowhere),
    ("//evil\t.test/1", Nowhere, Nowhere),
    ("https://evil .test/1", Nowhere, Nowhere),
    ("https://home.test;evil.test/1", Nowhere, Nowhere),
    ("https://home.test,evil.test/1", Nowhere, Nowhere),
    ("https://ev%69l.test/1?k=s3cr3t", Nowhere, Nowhere),
    ("https://home.test%2eevil.test/1", Nowhere, Nowhere),
    ("https://h\u{f6}me.test/1?k=s3cr3t", Nowhere, Nowhere),
    ("https://evil\u{3002}test/1", Nowhere, Nowhere),
    ("https://\u{ff48}ome.test/1", Nowhere, Nowhere),
    ("https://home\u{200b}.test/1", Nowhere, Nowhere),
    ("https://127.1/1?k=s3cr3t", Nowhere, Nowhere),
    ("https://127.0.0.01/1", Nowhere, Nowhere),
    ("https://127.0.0.1./1", Nowhere, Nowhere),
    ("https://0x7f.0.0.1/1", Nowhere, Nowhere),
    ("https://0x7f000001/1", Nowhere, Nowhere),
    ("https://017700000001/1", Nowhere, Nowhere),
    ("https://2130706433/1", Nowhere, Nowhere),
    ("https://[fe80::1%25eth0]/1", Nowhere, Nowhere),
    ("https://home.test:0/1", Nowhere, Nowhere),
    ("https://home.test:65536/1", Nowhere, Nowhere),
    ("https://home.test:99999/1?k=s3cr3t", Nowhere, Nowhere),
    ("https://home.test:+443/1", Nowhere, Nowhere),
    ("https://home.test:443x/1", Nowhere, Nowhere),
    ("https://home..test/1", Nowhere, Nowhere),
    ("home.test:443/1", Nowhere, Nowhere),
    ("ftp://evil.test/s3cr3t", Nowhere, Nowhere),
    ("file:///etc/s3cr3t", Nowhere, Nowhere),
    ("javascript:s3cr3t", Nowhere, Nowhere),
    ("#s3cr3t", Nowhere, Nowhere),
];

impl Leads {
    /// Where to, if anywhere, and by what name this is known.
    fn to(self, scheme: &str) -> Option<String> {
        match self {
            Home(url) | Up(url) | Away(url) => Some(url.replacen('~', scheme, 1)),
            Down | Nowhere => None,
        }
    }
}

/// What a machine is led from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    Upload,
    Append,
    Create,
    Inspect,
    Discover,
    Terminate,
    Concatenate,
    Parallel,
}

impl Machine {
    pub const ALL: [Self; 8] = [
        Self::Upload,
        Self::Append,
        Self::Create,
        Self::Inspect,
        Self::Discover,
        Self::Terminate,
        Self::Concatenate,
        Self::Parallel,
    ];
}

/// The request that is answered with the place, and the statuses of the answer.
const BY_ANSWER: &[(Machine, &str, &[u16])] = &[
    (Machine::Upload, "POST", &[201, 307, 308]),
    (Machine::Upload, "PATCH", &[307, 308]),
    (Machine::Append, "HEAD", &[307, 308]),
    (Machine::Append, "PATCH", &[307, 308]),
    (Machine::Create, "POST", &[201, 307, 308]),
    (Machine::Inspect, "HEAD", &[307, 308]),
    (Machine::Discover, "OPTIONS", &[307, 308]),
    (Machine::Terminate, "DELETE", &[307, 308]),
    (Machine::Concatenate, "POST", &[201, 307, 308]),
    (Machine::Parallel, "POST", &[201, 307, 308]),
    (Machine::Parallel, "PATCH", &[307, 308]),
];

/// The lines of a checkpoint, of which one names the place.
const BY_CHECKPOINT: &[(&str, &str)] = &[
    ("an upload", "url PLACE\nlength 5\nspoke yes\n"),
    (
        "a part",
        "parts 2\njoining no\npart 5\nurl PLACE\nspoke yes\npart 5\n",
    ),
    (
        "a whole",
        "parts 2\njoining yes\nwhole PLACE\npart 5\nurl HOME/files/8\nspoke yes\npart 5\nurl HOME/files/9\nspoke yes\n",
    ),
];

/// What the user gives along, which is nobody else's.
const PRIVATE: [&str; 3] = ["authorization", "cookie", "x-api-key"];

/// Where the user's own headers may go beside home, where that is said.
const TRUSTED: [&str; 2] = ["https://evil.test", "http://evil.test"];

fn policies() -> [Foreign; 3] {
    let trusted = TRUSTED.map(|origin| origin.parse().unwrap());
    [
        Foreign::Refuse,
        Foreign::Bare,
        Foreign::Trust(trusted.into()),
    ]
}

/// How the user's credentials are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    Header,
    UserInfo,
}

impl Given {
    fn config(self, foreign: &Foreign) -> Config {
        let mut config = Config::default();
        let mut fields = vec![("cookie", "a=s3cr3t"), ("x-api-key", "s3cr3t")];
        if self == Self::Header {
            fields.push(("authorization", "Bearer s3cr3t"));
        }
        config.headers = headers(&fields);
        config.foreign = foreign.clone();
        config
    }

    /// What the user types for the endpoint, and for an upload.
    fn urls(self, scheme: &str) -> [String; 2] {
        let user = match self {
            Self::Header => "",
            Self::UserInfo => "s3cr3t:s3cr3t@",
        };
        ["", "7"].map(|path| format!("{scheme}://{user}home.test/files/{path}"))
    }
}

/// A tus server, at whatever host it is asked. It loses the first bytes, so that it is asked again.
#[derive(Default)]
struct Server {
    /// The first request of this method is answered so.
    lead: Option<(&'static str, u16, &'static str)>,
    made: usize,
    has: BTreeMap<String, u64>,
    lost: bool,
}

impl Server {
    fn answer(&mut self, request: &Request<Body>) -> Answer {
        let method = request.method().as_str();
        if let Some((_, status, place)) = self.lead.take_if(|(lead, ..)| *lead == method) {
            return answer(status, &[("location", place.as_bytes())]);
        }
        let path = request.uri().path().to_owned();
        let has = self.has.entry(path).or_default();
        match method {
            "POST" => {
                self.made += 1;
                let path = format!("/files/{}", self.made);
                answer(201, &[("location", path.as_bytes())])
            }
            "PATCH" if !std::mem::replace(&mut self.lost, true) => lost(),
            "PATCH" => {
                let from = request.headers()["upload-offset"].to_str().unwrap();
                let body = request.body();
                *has = from.parse::<u64>().unwrap() + (body.end - body.start);
                answer(204, &[("upload-offset", has.to_string().as_bytes())])
            }
            "HEAD" => {
                let has = has.to_string();
                let fields: [(&str, &[u8]); 3] = [
                    ("tus-resumable", b"1.0.0"),
                    ("upload-offset", has.as_bytes()),
                    ("upload-length", b"5"),
                ];
                answer(200, &fields)
            }
            _ => answer(204, &[("tus-resumable", b"1.0.0")]),
        }
    }
}

/// Runs a machine that begins at these URLs.
pub fn start(
    machine: Machine,
    [endpoint, url]: [&str; 2],
    config: &Config,
    fresh: Option<&HeaderMap>,
    server: impl FnMut(&Request<Body>) -> Answer,
) -> Story {
    match machine {
        Machine::Upload => run(Upload::create(endpoint, 5, config).unwrap(), fresh, server),
        Machine::Append => run(Upload::append(url, 5, config).unwrap(), fresh, server),
        Machine::Create => run(Create::new(endpoint, 5, config).unwrap(), fresh, server),
        Machine::Inspect => run(Inspect::new(url, config).unwrap(), fresh, server),
        Machine::Discover => run(Discover::new(endpoint, config).unwrap(), fresh, server),
        Machine::Terminate => run(Terminate::new(url, config).unwrap(), fresh, server),
        Machine::Concatenate => {
            let parts = ["https://home.test/files/8", "https://home.test/files/9"];
            run(
                Concatenate::new(endpoint, &parts, config).unwrap(),
                fresh,
                server,
            )
        }
        Machine::Parallel => run(
            Parallel::join(endpoint, &[5, 5], config).unwrap(),
            fresh,
            server,
        ),
    }
}

/// The text with this place in it, sealed as the core seals it.
pub fn checkpoint_text(lines: &str, scheme: &str, place: &str) -> String {
    let home = format!("{scheme}://home.test");
    let lines = lines.replace("HOME", &home).replace("PLACE", place);
    let text = format!("tus-checkpoint 1\nendpoint {home}/files/\n{lines}");
    let seal = text.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    format!("{text}end {seal:016x}\n")
}

fn by_checkpoint(checkpoint: Checkpoint, scheme: &str, given: Given, config: &Config) -> Story {
    let mut server = Server::default();
    let server = move |request: &Request<Body>| server.answer(request);
    let [endpoint, _] = given.urls(scheme);
    if checkpoint.in_parts() {
        run(
            Parallel::resume(&endpoint, checkpoint, 10, config).unwrap(),
            None,
            server,
        )
    } else {
        run(
            Upload::resume(&endpoint, checkpoint, 5, config).unwrap(),
            None,
            server,
        )
    }
}

/// Whether the machine went there, or gives it to its caller to go there.
fn reached(story: &Story, url: &str) -> bool {
    let asked = |(request, _): &(Request<Body>, _)| *request.uri() == *url;
    let told = |event: &Event| matches!(event, Event::Created { url: at } if at.expose() == url);
    story.requests.iter().any(asked) || story.events.iter().any(told)
}

/// The rules, for whoever began at home.
fn judge(what: &str, story: &Story, leads: Leads, scheme: &str, given: Given, foreign: &Foreign) {
    let trusts = matches!(foreign, Foreign::Trust(_));
    let home = format!("{scheme}://home.test");
    for (request, terms) in &story.requests {
        let url = request.uri().to_string();
        let seen = format!("{what}: {} {url}", request.method());
        // S2.
        assert!(
            scheme == "http" || url.starts_with("https://"),
            "S2: {seen}"
        );
        // S3.
        assert!(
            !url[..url.find("test").unwrap_or(0)].contains('@'),
            "S3: {seen}"
        );
        // S1.
        let place = origin(&url);
        let trusted =
            place == home || place == "https://home.test" || trusts && TRUSTED.contains(&place);
        assert_eq!(terms.trusted, trusted, "S1: {seen}");
        for name in PRIVATE {
            let values: Vec<_> = request.headers().get_all(name).iter().collect();
            assert_eq!(values.len(), usize::from(trusted), "S1: {name} in {seen}");
            for value in values {
                assert!(value.is_sensitive(), "S1: {name} in {seen}");
                let basic = name == "authorization" && given == Given::UserInfo;
                let text = value.to_str().unwrap();
                assert!(
                    if basic {
                        text == BASIC
                    } else {
                        text.contains(SECRET)
                    },
                    "{seen}"
                );
            }
        }
    }
    // S3.
    story.keeps_secrets(what);

    let foreign_events = |origin: &str| {
        let names = |event: &&Event| matches!(event, Event::Foreign { origin: o } if o.to_string() == origin);
        story.events.iter().filter(names).count()
    };
    let upgrades = |url: &str| {
        let names =
            |event: &&Event| matches!(event, Event::Upgraded { url: u } if u.expose() == url);
        story.events.iter().filter(names).count()
    };
    let refusal = match &story.error {
        Some(Error::Location { refusal, .. }) => Some(refusal),
        _ => None,
    };
    let to = leads.to(scheme);
    match (leads, foreign) {
        (Away(_), Foreign::Refuse) => {
            let to = to.unwrap();
            assert!(
                matches!(refusal, Some(Refusal::ForeignRefused(o)) if o.to_string() == origin(&to)),
                "{what}: {refusal:?}"
            );
            assert!(!reached(story, &to), "{what}");
        }
        (Away(_), _) => {
            let to = to.unwrap();
            assert!(reached(story, &to), "{what}: {:?}", story.error);
            assert_ne!(foreign_events(origin(&to)), 0, "{what}: nobody is told");
        }
        (Home(_) | Up(_), _) => {
            let to = to.unwrap();
            assert!(reached(story, &to), "{what}: {:?}", story.error);
            let up = usize::from(matches!(leads, Up(_)));
            assert_eq!(upgrades(&to), up, "{what}");
            assert!(
                !story
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::Foreign { .. })),
                "{what}"
            );
        }
        (Down, _) => assert!(
            matches!(refusal, Some(Refusal::Downgrade(_))),
            "S2: {what}: {:?}",
            story.error
        ),
        (Nowhere, _) => assert!(
            matches!(refusal, Some(Refusal::Unusable(_))),
            "S5: {what}: {:?}",
            story.error
        ),
    }
}

/// Every place, for both schemes, under every policy, and with credentials in a URL.
fn everywhere(mut each: impl FnMut(&'static str, Leads, &str, Given, &Foreign)) {
    for (place, https, http) in TARGETS {
        for (scheme, leads) in [("https", https), ("http", http)] {
            // What is no URL is none under any policy.
            let policies =
                policies()
                    .into_iter()
                    .skip(if matches!(leads, Nowhere) { 2 } else { 0 });
            for foreign in policies {
                each(place, *leads, scheme, Given::Header, &foreign);
            }
            each(place, *leads, scheme, Given::UserInfo, &Foreign::Bare);
        }
    }
}

#[test]
fn s1_s2_s5_no_answer_leads_a_secret_astray() {
    everywhere(|place, leads, scheme, given, foreign| {
        for (machine, method, statuses) in BY_ANSWER {
            for status in *statuses {
                let what = format!(
                    "{machine:?} at {scheme}, {method} answered {status} {place:?}, {foreign:?}, {given:?}"
                );
                let config = given.config(foreign);
                let mut server = Server {
                    lead: Some((method, *status, place)),
                    ..Server::default()
                };
                let urls = given.urls(scheme);
                let urls = urls.each_ref().map(|url| &**url);
                let story = start(*machine, urls, &config, None, |request| {
                    server.answer(request)
                });
                judge(&what, &story, leads, scheme, given, foreign);
            }
        }
    });
}

#[test]
fn s1_s2_s5_no_checkpoint_leads_a_secret_astray() {
    let mut read = 0;
    everywhere(|place, leads, scheme, given, foreign| {
        for (part, lines) in BY_CHECKPOINT {
            let what =
                format!("{part} at {scheme}, at {place:?} in a checkpoint, {foreign:?}, {given:?}");
            // There is one way to write a URL in a checkpoint, and that is whole.
            let canonical = leads.to(scheme).is_some_and(|to| to == *place)
                || matches!(leads, Up(_) | Down) && !place.contains(":80/");
            match checkpoint_text(lines, scheme, place).parse::<Checkpoint>() {
                Ok(checkpoint) => {
                    assert!(canonical, "{what}: it is read");
                    conceals(&what, &format!("{checkpoint:?}"));
                    let config = given.config(foreign);
                    let story = by_checkpoint(checkpoint, scheme, given, &config);
                    judge(&what, &story, leads, scheme, given, foreign);
                    read += 1;
                }
                Err(error) => {
                    assert!(!canonical, "{what}: {error}");
                    conceals(&what, &format!("{error} {error:?}"));
                }
            }
        }
    });
    assert!(read > 300, "{read}");
}

/// A URL that the caller types is held to the same checks, and is then home itself.
#[test]
fn s1_s5_a_url_of_the_callers_is_home_or_nothing() {
    for (place, leads, _) in TARGETS {
        let mut config = Given::Header.config(&Foreign::Bare);
        config.headers.remove("authorization");
        let user = place.split_once("//").is_some_and(|(_, rest)| {
            let authority = rest.split(['/', '?', '#', '\\']).next();
            authority.is_some_and(|authority| authority.contains('@'))
        });
        let absolute = place.trim().to_ascii_lowercase().starts_with("http")
            && !place.contains(":///")
            && *place != "https://";
        let fine = absolute && (user || !matches!(leads, Nowhere));
        match Upload::append(place, 5, &config) {
            Err(misuse) => {
                assert!(
                    !fine && matches!(misuse, Misuse::Url(_)),
                    "{place:?}: {misuse}"
                );
                conceals(place, &format!("{misuse} {misuse:?}"));
            }
            Ok(upload) => {
                assert!(fine, "{place:?} is taken");
                let mut server = Server::default();
                let story = run(upload, None, |request| server.answer(request));
                story.keeps_secrets(place);
                let first = story.requests[0].0.uri().to_string();
                for (request, terms) in &story.requests {
                    assert_eq!(
                        origin(&request.uri().to_string()),
                        origin(&first),
                        "{place:?}"
                    );
                    assert!(terms.trusted, "{place:?}");
                    assert_eq!(request.headers()["cookie"], "a=s3cr3t");
                    let authorized = request.headers().contains_key("authorization");
                    assert_eq!(authorized, user, "{place:?}");
                }
            }
        }
    }
}

/// S7: credentials that were obtained for an origin go there and nowhere else, trusted or not.
#[test]
fn s7_what_was_obtained_for_an_origin_goes_there_only() {
    for (machine, method, statuses) in BY_ANSWER {
        for foreign in policies() {
            let what = format!("{machine:?}, led away from {method}, {foreign:?}");
            for asks in ["https://home.test", "https://evil.test"] {
                let mut config = Given::UserInfo.config(&foreign);
                config.authorize = Authorize::OnUnauthorized;
                let fresh = headers(&[("authorization", "Fresh s3cr3t"), ("x-fresh", "s3cr3t")]);
                let mut server = Server {
                    lead: Some((method, statuses[0], "https://evil.test/1")),
                    ..Server::default()
                };
                // The one that asks is not content with what it is not given.
                let urls = Given::UserInfo.urls("https");
                let urls = urls.each_ref().map(|url| &**url);
                let story = start(*machine, urls, &config, Some(&fresh), |request| {
                    let content = request.headers().contains_key("x-fresh");
                    if origin(&request.uri().to_string()) == asks && !content {
                        answer(401, &[("www-authenticate", b"Fresh")])
                    } else {
                        server.answer(request)
                    }
                });
                for (request, _) in &story.requests {
                    let url = request.uri().to_string();
                    let has = request.headers().contains_key("x-fresh");
                    assert!(
                        !has || origin(&url) == asks,
                        "{what}: {url} after {asks} asked"
                    );
                    let basic = request.headers().get("authorization");
                    let basic = basic.is_some_and(|value| value == BASIC);
                    let trusts = matches!(foreign, Foreign::Trust(_));
                    assert!(
                        !basic || trusts || origin(&url) == "https://home.test",
                        "{what}: {url}"
                    );
                }
                assert!(story.asked.iter().all(|url| origin(url) == asks), "{what}");
                let got =
                    |(request, _): &(Request<Body>, _)| request.headers().contains_key("x-fresh");
                let home = asks == "https://home.test";
                assert!(
                    !home || story.requests.iter().any(got),
                    "{what}: {:?}",
                    story.error
                );
                story.keeps_secrets(&what);
            }
        }
    }
}
