//! What the caller sees and changes on the way.

use std::sync::Mutex;

use http::{HeaderMap, HeaderValue};
use tus_driver::Error;
use tus_proto::{Extension, Op};
use tus_testkit::{Location, Options, Quirk};

use crate::line::{ENDPOINT, Line, bytes, hasty};

fn guarded(secret: &str) -> Options {
    Options {
        quirks: vec![Quirk::Authorization(secret.to_owned())],
        ..Options::default()
    }
}

fn fields(name: &'static str, value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static(name),
        HeaderValue::from_static(value),
    )])
}

#[test]
fn fresh_credentials_are_asked_for_and_used() {
    let line = Line::to(guarded("Bearer new"), []);
    let asked = Mutex::new(Vec::new());
    let done = line
        .upload()
        .header("authorization", "Bearer old")
        .authorize(|challenge| {
            asked.lock().unwrap().push(challenge.clone());
            Some(fields("authorization", "Bearer new"))
        })
        .send(bytes(10_000));
    done.unwrap();
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].status, 401);
    assert_eq!(asked[0].challenges, ["Bearer"]);
    assert!(line.content() == bytes(10_000));
}

#[test]
fn without_credentials_the_refusal_stands() {
    let line = Line::to(guarded("Bearer new"), []);
    let error = line.upload().authorize(|_| None).send("hello").unwrap_err();
    assert!(
        matches!(&error, Error::Upload(tus_proto::Error::Rejected { status, .. }) if *status == 401),
        "{error}"
    );
    // Three rounds without new bytes, and then no more.
    let mut rounds = 0;
    let wrong = || Some(fields("authorization", "Bearer wrong"));
    let error = line
        .upload()
        .authorize(|_| {
            rounds += 1;
            wrong()
        })
        .send("hello");
    assert!(error.is_err());
    assert_eq!(rounds, 3);
}

// 35
#[test]
#[should_panic(expected = "by design")]
fn a_callback_that_panics_is_no_network_error() {
    let line = Line::to(guarded("Bearer new"), []);
    let _ = line
        .upload()
        .authorize(|_| panic!("by design"))
        .send("hello");
}

// S7.
#[test]
fn a_hook_changes_headers_and_nothing_else() {
    let line = Line::good();
    let seen = Mutex::new(Vec::new());
    line.upload()
        .on_request(|request, terms| {
            seen.lock().unwrap().push(terms.op);
            *request.method_mut() = http::Method::TRACE;
            *request.uri_mut() = http::Uri::from_static("http://elsewhere.test/");
            *request.body_mut() = 7..9;
            request.headers_mut().remove("upload-length");
            request
                .headers_mut()
                .insert("upload-offset", HeaderValue::from_static("77"));
            request
                .headers_mut()
                .insert("content-length", HeaderValue::from_static("1"));
            request
                .headers_mut()
                .insert("x-trace", HeaderValue::from_static("t1"));
        })
        .send(bytes(10_000))
        .unwrap();
    assert!(line.content() == bytes(10_000));
    assert_eq!(*seen.lock().unwrap(), [Op::Create, Op::Append]);
    let server = line.server();
    assert!(
        server
            .log()
            .iter()
            .all(|record| record.headers["x-trace"] == "t1")
    );
}

// S7: every name, set by a hook or taken away, is as it was.
#[test]
fn a_hook_sets_nothing_that_the_protocol_owns() {
    const OWNED: [&str; 15] = [
        "connection",
        "content-length",
        "content-type",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "tus-resumable",
        "tus-anything",
        "upgrade",
        "upload-length",
        "upload-offset",
        "upload-anything",
        "x-http-method-override",
    ];
    type Change = fn(&mut HeaderMap, &'static str);
    let sent = |change: Option<Change>| {
        let line = Line::good();
        let call = line.upload().on_request(|request, _| {
            let headers = request.headers_mut();
            for name in OWNED {
                if let Some(change) = change {
                    change(headers, name);
                }
            }
            headers.append("x-key", HeaderValue::from_static("s3cr3t"));
        });
        call.send(bytes(10_000)).unwrap();
        let server = line.server();
        let owned = server.log().iter().map(|record| {
            let mut headers = record.headers.clone();
            let key = headers.remove("x-key").unwrap();
            assert!(key.is_sensitive());
            headers
        });
        owned.collect::<Vec<_>>()
    };
    let untouched = sent(None);
    assert_eq!(untouched.len(), 2);
    let changes: [Change; 3] = [
        |headers, name| drop(headers.insert(name, HeaderValue::from_static("9"))),
        |headers, name| {
            headers.append(name, HeaderValue::from_static("9"));
        },
        |headers, name| drop(headers.remove(name)),
    ];
    for change in changes {
        assert_eq!(sent(Some(change)), untouched);
    }
}

// S1.
#[test]
fn a_hook_does_not_see_what_goes_elsewhere() {
    let quirks = vec![Quirk::Location(Location::Absolute)];
    let line = Line::to(
        Options {
            quirks,
            ..Options::default()
        },
        [],
    );
    let at_home = Mutex::new(0);
    line.client()
        .upload("http://home.test/files/")
        .config(|config| {
            hasty(config);
            config.creation_body = 0;
        })
        .on_request(|request, terms| {
            assert!(terms.trusted);
            assert_eq!(request.uri().host(), Some("home.test"));
            *at_home.lock().unwrap() += 1;
        })
        .send("hello")
        .unwrap();
    assert!(*at_home.lock().unwrap() > 0);
}

#[test]
fn every_answer_is_shown() {
    let line = Line::good();
    let seen = Mutex::new(Vec::new());
    line.client()
        .upload(ENDPOINT)
        .on_response(|response, op| seen.lock().unwrap().push((op, response.status().as_u16())))
        .send("hello")
        .unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        [(Op::Discover, 204), (Op::Create, 201)]
    );
    let server = line.client().discover(ENDPOINT).send().unwrap().unwrap();
    assert_eq!(server.offers(Extension::Checksum), Some(true));
}

#[test]
fn requests_carry_ids_of_their_own() {
    let line = Line::good();
    line.upload()
        .config(|config| config.request_id = Some(http::HeaderName::from_static("x-request-id")))
        .send("hello")
        .unwrap();
    let server = line.server();
    let ids: std::collections::BTreeSet<_> = server
        .log()
        .iter()
        .map(|record| record.headers["x-request-id"].to_str().unwrap())
        .collect();
    assert_eq!(ids.len(), server.log().len());
    assert!(ids.iter().all(|id| id.len() == 32), "{ids:?}");
}
