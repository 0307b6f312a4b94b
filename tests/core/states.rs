//! Every state × every event, and its outcome, as a table under version control.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test -p tus-proto --test core states` writes the table anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use http::Response;
use tus_proto::{
    Algorithm, Answer, Authorize, Cancel, Config, DutyId, Extension, Failure, FailureKind, Input,
    Upload,
};

use crate::scenario::{ENDPOINT, Scenario, URL, config, headers, server};

type Told = Scenario<Upload>;
type State = (&'static str, fn() -> Told);
/// An event, made for the duty that is out; `None`: the time comes that the machine waits for.
type Event = (String, Box<dyn Fn(DutyId) -> Option<Input>>);

/// How a state is reached.
const STATES: [State; 36] = [
    ("Create", || Told::create_with(9, opted)),
    ("Create nothing", || Told::create_with(0, opted)),
    ("Create with bytes", || {
        Told::create_with(9, |config| {
            opted(config);
            config.expect_continue = true;
            config.server = Some(server(&[Extension::CreationWithUpload]));
        })
        .sent(9)
    }),
    ("Create before a digest", || {
        Told::create_with(9, with_checksums)
    }),
    ("Create a stream", || {
        Told::new(Upload::create(ENDPOINT, None, &config(opted)).unwrap())
    }),
    ("Create anew", || probing().answers(410, &[])),
    ("Save", || {
        let created = Told::create_with(9, opted).holding_saves();
        created.answers(201, &[("location", URL)])
    }),
    ("Save before a deletion", || {
        let created = Told::create_with(9, opted).holding_saves();
        let created = created.answers(201, &[("location", URL)]);
        created.cancel(Cancel::Terminate)
    }),
    ("Save before the question for credentials", || {
        let created = Told::created_with(9, opted).holding_saves();
        created.sent(9).answers(401, &[])
    }),
    ("Append", || Told::created_with(9, opted).sent(9)),
    ("Append after a loss of the whole", || {
        Told::created_with(9, opted).loses().finds(2).sent(7)
    }),
    ("Append with a checksum", || {
        checked().digest(&[0; 20]).sent(9)
    }),
    ("Append of a stream", || {
        stream().available(8, false).sent(8)
    }),
    ("Append of the end of a stream", ending),
    ("Append of the end of a stream, again", || {
        ending().loses().finds(2).sent(7)
    }),
    ("Read", stream),
    ("Read before a creation of nothing", || {
        Told::create_with(0, |config| {
            opted(config);
            config.stream = true;
        })
    }),
    ("Read for a host with a minimum", || {
        Told::stream_with(|config| {
            opted(config);
            config.request_min = Some(9);
        })
    }),
    ("Read for the end", || {
        let upload = Upload::append(URL, None, &config(opted)).unwrap();
        Told::new(upload).finds_of(0, 9).available(9, false)
    }),
    ("Read for the end of what is complete", || {
        Told::resume_stream_with(&stream().checkpoint(), opted).finds_of(9, 9)
    }),
    ("Read before a digest", || Told::stream_with(with_checksums)),
    ("Digest", checked),
    ("Probe", probing),
    ("Probe after the last byte", || {
        Told::created_with(9, opted).sent(9).loses()
    }),
    ("Probe after 409", || {
        Told::created_with(9, opted).sent(4).answers(409, &[])
    }),
    ("Probe after 413", || {
        Told::created_with(9, opted).sent(4).answers(413, &[])
    }),
    ("Probe after an answer without an offset", || {
        Told::created_with(9, opted).sent(9).answers(204, &[])
    }),
    ("Probe for a doubt", || {
        let lost = Told::created_with(9, opted).loses().finds(2);
        lost.answers(403, &[])
    }),
    ("Probe after a lost end of a stream", || ending().loses()),
    ("Probe after a mismatch", || {
        let told = checked().digest(&[0; 20]).sent(4);
        told.answers(460, &[]).waits()
    }),
    ("Probe of a later run", || {
        Told::resume_with(&Told::created(9).checkpoint(), opted)
    }),
    ("Probe of a later run of a stream", || {
        Told::resume_stream_with(&stream().checkpoint(), opted)
    }),
    ("Authorize", || {
        Told::created_with(9, opted).sent(4).answers(401, &[])
    }),
    ("Authorize for a creation", || {
        Told::create_with(9, opted).answers(401, &[])
    }),
    ("Wait", || {
        Told::created_with(9, opted).sent(4).answers(503, &[])
    }),
    ("Terminate", || {
        let created = Told::created_with(9, opted).sent(4);
        created.cancel(Cancel::Terminate)
    }),
];

fn probing() -> Told {
    Told::created_with(9, opted).sent(4).loses()
}

fn with_checksums(config: &mut Config) {
    opted(config);
    config.checksums = vec![Algorithm::SHA1];
}

fn checked() -> Told {
    Told::created_with(9, with_checksums)
}

fn stream() -> Told {
    Told::stream_with(opted)
}

fn ending() -> Told {
    stream().available(9, true).sent(9)
}

fn opted(config: &mut Config) {
    config.authorize = Authorize::OnUnauthorized;
}

/// An answer: its name, status, fields, and words.
type Answered = (
    &'static str,
    u16,
    &'static [(&'static str, &'static str)],
    &'static str,
);

const TUS: (&str, &str) = ("tus-resumable", "1.0.0");
const ANSWERS: [Answered; 48] = [
    (
        "whole",
        204,
        &[TUS, ("location", URL), ("upload-offset", "9")],
        "",
    ),
    (
        "part",
        204,
        &[TUS, ("location", URL), ("upload-offset", "3")],
        "",
    ),
    (
        "nothing new",
        204,
        &[TUS, ("location", URL), ("upload-offset", "0")],
        "",
    ),
    (
        "too much",
        204,
        &[TUS, ("location", URL), ("upload-offset", "10")],
        "",
    ),
    (
        "another length",
        204,
        &[
            TUS,
            ("location", URL),
            ("upload-offset", "0"),
            ("upload-length", "8"),
        ],
        "",
    ),
    (
        "its length",
        204,
        &[TUS, ("upload-offset", "9"), ("upload-length", "9")],
        "",
    ),
    (
        "a deferred length",
        204,
        &[TUS, ("upload-offset", "9"), ("upload-defer-length", "1")],
        "",
    ),
    (
        "another upload",
        201,
        &[TUS, ("location", "b"), ("upload-offset", "9")],
        "",
    ),
    ("another version", 204, &[("tus-resumable", "0.2.2")], ""),
    ("no offset", 201, &[TUS, ("location", URL)], ""),
    ("bare", 200, &[], "<title>Log in</title>"),
    ("302", 302, &[("location", "/b")], ""),
    ("307", 307, &[("location", "/b")], ""),
    ("307 to nowhere", 307, &[], ""),
    ("308", 308, &[("location", "/b")], ""),
    ("400", 400, &[], ""),
    ("400 broken off", 400, &[], "ERR_UPLOAD_INTERRUPTED"),
    ("401", 401, &[], ""),
    ("403", 403, &[], ""),
    ("404", 404, &[TUS], ""),
    ("404 unsigned", 404, &[], ""),
    ("405", 405, &[], ""),
    ("407", 407, &[], ""),
    ("408", 408, &[], ""),
    ("409", 409, &[], ""),
    ("410", 410, &[], ""),
    ("412", 412, &[], ""),
    ("413", 413, &[], ""),
    ("413 whole", 413, &[("tus-max-size", "8")], ""),
    ("414", 414, &[], ""),
    ("415", 415, &[], ""),
    ("417", 417, &[], ""),
    ("418", 418, &[], ""),
    ("421", 421, &[], ""),
    ("422", 422, &[], ""),
    ("423", 423, &[], ""),
    ("425", 425, &[], ""),
    ("429", 429, &[], ""),
    ("429 for long", 429, &[("retry-after", "301")], ""),
    ("431", 431, &[], ""),
    ("460", 460, &[], ""),
    ("499", 499, &[], ""),
    ("500", 500, &[], ""),
    ("501", 501, &[], ""),
    ("502", 502, &[], ""),
    ("503", 503, &[], ""),
    ("507", 507, &[], ""),
    ("no status of HTTP's", 700, &[], ""),
];

const FAILURES: [(&str, FailureKind); 5] = [
    ("NotSent", FailureKind::NotSent),
    ("Lost", FailureKind::Lost),
    ("Source", FailureKind::Source),
    ("SourceChanged", FailureKind::SourceChanged),
    ("Hopeless", FailureKind::Hopeless),
];

fn events() -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for (name, status, fields, words) in ANSWERS {
        events.push((
            format!("answered {name}"),
            Box::new(move |id| {
                let mut response = Response::new(Bytes::from_static(words.as_bytes()));
                *response.status_mut() = status.try_into().unwrap();
                *response.headers_mut() = headers(fields);
                Some(Input::Answer(id, Answer::Response(response)))
            }),
        ));
    }
    for (name, kind) in FAILURES {
        events.push((
            format!("failed {name}"),
            Box::new(move |id| Some(Input::Answer(id, Answer::Failed(Failure::new(kind, ""))))),
        ));
    }
    events.push((
        "saved".into(),
        Box::new(|id| Some(Input::Answer(id, Answer::Saved))),
    ));
    events.push((
        "credentials".into(),
        Box::new(|id| {
            let fresh = headers(&[("authorization", "fresh")]);
            Some(Input::Answer(id, Answer::Credentials(Some(fresh))))
        }),
    ));
    events.push((
        "no credentials".into(),
        Box::new(|id| Some(Input::Answer(id, Answer::Credentials(None)))),
    ));
    for (name, upto, end) in [
        ("bytes", 8, false),
        ("all bytes", 9, true),
        ("no bytes", 0, false),
        ("nothing at all", 0, true),
    ] {
        events.push((
            name.into(),
            Box::new(move |id| Some(Input::Answer(id, Answer::Available { upto, end }))),
        ));
    }
    for (name, bytes) in [("digest", 20), ("digest of another length", 19)] {
        events.push((
            name.into(),
            Box::new(move |id| Some(Input::Answer(id, Answer::Digest(vec![0; bytes].into())))),
        ));
    }
    events.push((
        "interim".into(),
        Box::new(|id| Some(Input::Interim(id, Response::new(())))),
    ));
    events.push(("sent".into(), Box::new(|id| Some(Input::Sent(id, 5)))));
    events.push(("deadline".into(), Box::new(|_| None)));
    for how in [Cancel::Keep, Cancel::Terminate, Cancel::Now] {
        events.push((
            format!("cancel {how:?}"),
            Box::new(move |_| Some(Input::Cancel(how))),
        ));
    }
    events
}

/// What the machine says from an event until it waits for somebody else, its own waits run out.
fn outcome(mut told: Told, event: &dyn Fn(DutyId) -> Option<Input>) -> String {
    let stale = DutyId { lane: 9, serial: 9 };
    let id = told.out.as_ref().map(|(id, ..)| *id);
    let id = id
        .or(told.duty.as_ref().map(|(id, _)| *id))
        .unwrap_or(stale);
    told.log.clear();
    told = match event(id) {
        Some(input) => {
            if let Input::Answer(..) = input {
                told.out = None;
                told.duty = None;
            }
            told.input(input)
        }
        None if told.duty.is_some() => told,
        None => {
            let wait = told.wait();
            told.after(wait)
        }
    };
    if told.out.is_none() && told.duty.is_none() && !told.over() {
        let wait = told.wait();
        told.log.push("wait".into());
        told = told.after(wait);
    }
    if told.log.is_empty() {
        "nothing".into()
    } else {
        told.log.join(", ")
    }
}

/// Answers to an exchange make no difference where none is out, nor do those to a duty where an
/// exchange is; a few stand for all.
fn differs(told: &Told, event: &str) -> bool {
    let standing = ["answered whole", "failed Lost", "saved"];
    let answered = event.starts_with("answered");
    let source = ["failed Source", "failed SourceChanged"].contains(&event);
    let failed = event.starts_with("failed") && !(source && told.duty.is_some());
    let answers_duty = ["bytes", "digest", "credentials"]
        .iter()
        .any(|word| event.contains(word));
    standing.contains(&event)
        || match (&told.out, &told.duty) {
            (Some(_), _) => !answers_duty,
            (None, Some(_)) => !answered && !failed,
            (None, None) => !answered && !failed && !answers_duty,
        }
}

fn table() -> Vec<(&'static str, Vec<(String, String)>)> {
    STATES
        .iter()
        .map(|(name, reach)| {
            let rows = events().into_iter();
            let rows = rows.filter(|(event, _)| differs(&reach(), event));
            let rows = rows.map(|(event, make)| (event, outcome(reach(), &*make)));
            (*name, rows.collect())
        })
        .collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a snapshot is a file")]
fn every_state_and_event_has_the_outcome_that_is_written_down() {
    let mut text = String::new();
    for (name, rows) in table() {
        let _ = writeln!(text, "{name}");
        for (event, outcome) in rows {
            let _ = writeln!(text, "  {event:<24} {outcome}");
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/core/states.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    for (line, (now, then)) in text.lines().zip(written.lines()).enumerate() {
        assert_eq!(now, then, "line {} of tests/core/states.txt", line + 1);
    }
    assert_eq!(text.len(), written.len());
}

/// The graph in the crate's docs: for each request, what may come next.
#[test]
#[expect(clippy::disallowed_methods, reason = "the graph is in a file")]
fn the_documented_graph_is_the_real_one() {
    let names = [
        ("POST", "Create"),
        ("HEAD", "Probe"),
        ("PATCH", "Append"),
        ("DELETE", "Terminate"),
        ("Read", "Read"),
        ("Digest", "Digest"),
        ("Authorize", "Authorize"),
        ("Done", "Done"),
        ("Error", "Error"),
    ];
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (state, rows) in table() {
        let state = match state {
            "Save" | "Save before a deletion" => "Create",
            "Save before the question for credentials" => "Append",
            "Wait" => continue,
            other => other.split(' ').next().unwrap(),
        };
        for (_, outcome) in rows {
            let last = outcome
                .rsplit(", ")
                .find(|word| *word != "resumable")
                .unwrap();
            let word = last.split(' ').next().unwrap();
            if let Some((_, name)) = names.iter().find(|(output, _)| *output == word) {
                graph.entry(state).or_default().insert(name);
            }
        }
    }
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs");
    let docs = std::fs::read_to_string(docs).unwrap();
    let mut lacking = String::new();
    for (from, to) in graph {
        let to: Vec<_> = to.into_iter().collect();
        let line = format!("//! {from:<9} -> {}\n", to.join(", "));
        lacking += &if docs.contains(&line) {
            String::new()
        } else {
            line
        };
    }
    assert!(lacking.is_empty(), "the docs lack:\n{lacking}");
}
