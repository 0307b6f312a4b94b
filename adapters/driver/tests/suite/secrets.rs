//! S3: no `Debug` and no `Display` of a public type shows a header of the user's, user information, or
//! the query of a URL.

use std::fmt::{Debug, Write as _};
use std::fs;
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use tempfile::TempDir;
use tus_driver::{
    AsyncClient, AsyncSource, AsyncTransport, BoxFuture, Call, Canceller, Client, ClientOver,
    Control, Discovering, Error, Inspecting, Many, Options, ReaderSource, SeekSource, Source,
    Store, Terminating, Transport, Trial, UploadBody,
};
use tus_proto::{Body, Failure, FailureKind, Terms};

use crate::line::hasty;

const ENDPOINT: &str = "http://s3cr3t:s3cr3t@server.test/files/?k=s3cr3t";
const SECRET: &str = "s3cr3t";
/// The same as Basic credentials.
const BASIC: &str = "czNjcjN0OnMzY3IzdA==";

#[track_caller]
fn conceals(what: &str, text: &str) {
    for secret in [SECRET, BASIC] {
        assert!(!text.contains(secret), "{what} shows a secret: {text}");
    }
}

#[track_caller]
fn shown(what: &str, value: &dyn Debug) {
    conceals(what, &format!("{value:?} {value:#?}"));
}

#[track_caller]
fn told(what: &str, error: &Error) {
    conceals(what, &format!("{error} {error:?} {error:#?}"));
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        conceals(what, &format!("{error} {error:?}"));
        cause = error.source();
    }
}

fn fields() -> HeaderMap {
    let value = HeaderValue::from_static("Bearer s3cr3t");
    HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])
}

type Answering = fn() -> Result<Response<Bytes>, Failure>;
type Seen = Arc<Mutex<String>>;

fn note(seen: &Seen, value: &dyn Debug) {
    let mut seen = seen.lock().unwrap();
    writeln!(seen, "{value:?} {value:#?}").unwrap();
}

/// A transport that shows all that it is given, and answers with what its caller wants.
struct Peek {
    seen: Seen,
    answer: Answering,
}

impl Peek {
    fn new(answer: Answering) -> (Self, Seen) {
        let seen = Arc::default();
        (
            Self {
                seen: Arc::clone(&seen),
                answer,
            },
            seen,
        )
    }

    fn see(&self, values: &[&dyn Debug]) {
        for value in values {
            note(&self.seen, value);
        }
    }
}

impl Transport for Peek {
    fn exchange(
        &self,
        request: Request<Body>,
        terms: &Terms,
        body: &mut dyn Read,
        control: &Control,
    ) -> Result<Response<Bytes>, Failure> {
        let counted = control.counted(body);
        self.see(&[request.headers(), terms, &counted, control]);
        (self.answer)()
    }
}

impl AsyncTransport for Peek {
    fn exchange<'a>(
        &'a self,
        request: Request<UploadBody>,
        terms: &'a Terms,
        control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
        self.see(&[request.headers(), terms, request.body(), control]);
        let answer = self.answer;
        Box::pin(async move { answer() })
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn unblock(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

fn respond(status: u16, location: Option<&str>) -> Response<Bytes> {
    let mut response = Response::builder().status(status);
    if let Some(location) = location {
        response = response.header("location", location);
    }
    response.body(Bytes::new()).unwrap()
}

fn lost() -> Result<Response<Bytes>, Failure> {
    Err(Failure::new(FailureKind::Lost, "the line is cut"))
}

/// All that a call can be told, but for what asks for credentials.
fn dressed<K, T>(call: Call<'static, K, T>, wrong: bool) -> Call<'static, K, T> {
    let secret = SECRET.to_owned();
    let call = call
        .header("x-api-key", SECRET)
        .config(|config| {
            hasty(config);
            config.retry.attempts = Some(1);
        })
        .on_event(|_| ())
        .on_request(move |request, _| {
            let value = secret.parse().unwrap();
            request.headers_mut().insert("x-hook", value);
        })
        .on_response(|_, _| ())
        .canceller(Canceller::new());
    if wrong {
        call.header("x-api-key", "s3cr3t\n")
    } else {
        call
    }
}

fn calls<T: Clone>(what: &str, client: &ClientOver<T>) {
    shown(what, client);
    for wrong in [false, true] {
        shown("upload", &dressed(client.upload(ENDPOINT), wrong));
        shown("append", &dressed(client.append(ENDPOINT), wrong));
        shown("inspect", &dressed(client.inspect(ENDPOINT), wrong));
        shown("terminate", &dressed(client.terminate(ENDPOINT), wrong));
        shown("discover", &dressed(client.discover(ENDPOINT), wrong));
        let many = client.upload_many(ENDPOINT, ["s3cr3t"]);
        shown("upload_many", &dressed(many, wrong));
        let stored = client
            .upload(ENDPOINT)
            .resume_from(Store::at("state"))
            .metadata("key", SECRET);
        shown("stored", &dressed(stored, wrong));
    }
}

#[test]
fn s3_no_client_and_no_call_shows_a_secret() {
    calls("Client", &Client::new(Peek::new(lost).0));
    calls("AsyncClient", &AsyncClient::new(Peek::new(lost).0));
    let asked = Client::new(Peek::new(lost).0)
        .upload(ENDPOINT)
        .authorize(|_| Some(fields()));
    shown("authorize", &asked);
    let asked = AsyncClient::new(Peek::new(lost).0)
        .upload(ENDPOINT)
        .authorize(|_| async { Some(fields()) });
    shown("authorize", &asked);
}

#[test]
fn s3_nothing_that_is_handed_over_shows_a_secret() {
    let folder = TempDir::new().unwrap();
    let store = Store::at(folder.path().join("state"));
    let entry = store
        .entry_named("a".as_ref(), ENDPOINT)
        .map(Arc::new)
        .unwrap();
    let mut options = Options::default();
    let value = fields();
    options.on_request = Some(Box::new(move |request, _| {
        request.headers_mut().extend(value.clone());
    }));
    options.authorize = Some(Box::new(|_| Box::pin(async { Some(fields()) })));
    options.entry = Some(Arc::clone(&entry));
    options.canceller = Some(Canceller::new());
    let reading = || Cursor::new(SECRET);
    let sources = ["s3cr3t"].map(|text| Arc::new(text) as Arc<dyn Source>);
    for (what, value) in [
        ("Store", &store as &dyn Debug),
        ("Entry", &entry),
        ("Options", &options),
        ("Canceller", &Canceller::new()),
        ("ReaderSource", &ReaderSource::new(reading())),
        ("SeekSource", &SeekSource::new(reading()).unwrap()),
        ("AsyncSource", &AsyncSource::from_tokio(SECRET.as_bytes())),
        ("Many", &Many::new(sources).unwrap()),
        ("Trial", &Trial::new(SECRET).unwrap()),
        ("Inspecting", &Inspecting::default()),
        ("Terminating", &Terminating::default()),
        ("Discovering", &Discovering::default()),
    ] {
        shown(what, value);
    }
}

/// How a server ends an upload, and what it names meanwhile.
const ENDINGS: [Answering; 9] = [
    lost,
    || Ok(respond(201, None)),
    || Ok(respond(201, Some("/files/1?k=s3cr3t"))),
    || {
        Ok(respond(
            201,
            Some("http://s3cr3t:s3cr3t@server.test/1?k=s3cr3t"),
        ))
    },
    || Ok(respond(201, Some("http://other.test/1?k=s3cr3t"))),
    || Ok(respond(307, Some("?k=s3cr3t"))),
    || Ok(respond(302, Some("/login?k=s3cr3t"))),
    || Ok(respond(401, None)),
    || panic!("s3cr3t"),
];

/// What each kind of call ends with, as it is not of use to its caller.
const CALLS: [fn(&Client, Seen) -> Option<Error>; 5] = [
    |client, seen| {
        let heard = Arc::clone(&seen);
        let call = dressed(client.upload(ENDPOINT), false)
            .on_event(move |event| note(&heard, event))
            .authorize(move |challenge| {
                note(&seen, challenge);
                Some(fields())
            });
        call.send("hello").err()
    },
    |client, _| {
        let call = client.upload_many(ENDPOINT, ["he", "llo"]);
        dressed(call, false).send().err()
    },
    |client, _| dressed(client.append(ENDPOINT), false).send("hello").err(),
    |client, _| dressed(client.inspect(ENDPOINT), false).send().err(),
    |client, _| dressed(client.discover(ENDPOINT), false).send().err(),
];

#[test]
fn s3_no_error_event_or_challenge_shows_a_secret() {
    for (ending, answer) in ENDINGS.into_iter().enumerate() {
        for call in CALLS {
            let (peek, seen) = Peek::new(answer);
            let error = call(&Client::new(peek), Arc::clone(&seen));
            if let Some(error) = &error {
                told(&format!("ending {ending}"), error);
            }
            let seen = seen.lock().unwrap();
            assert!(seen.contains("Counted"), "{seen}");
            conceals(&format!("the way to ending {ending}"), &seen);
        }
    }
}

#[tokio::test]
async fn s3_no_future_shows_a_secret() {
    for (ending, answer) in ENDINGS.into_iter().enumerate() {
        let (peek, seen) = Peek::new(answer);
        let call = dressed(AsyncClient::new(peek).upload(ENDPOINT), false);
        told(
            &format!("ending {ending}"),
            &call.send("hello").await.unwrap_err(),
        );
        let seen = seen.lock().unwrap();
        assert!(seen.contains("UploadBody"), "{seen}");
        conceals(&format!("the way to ending {ending}"), &seen);
    }
}

#[test]
fn s3_no_error_before_a_request_shows_a_secret() {
    let client = Client::new(Peek::new(lost).0);
    for endpoint in [
        "http://s3cr3t:s3cr3t@server.test:99999/?k=s3cr3t",
        "http://s3cr3t:s3cr3t@a b/?k=s3cr3t",
        "http://s3cr3t@s3cr3t:s3cr3t@server.test/?k=s3cr3t",
        "http://s3cr3t:%0As3cr3t@server.test/?k=s3cr3t",
        "ftp://s3cr3t:s3cr3t@server.test/?k=s3cr3t",
        "//s3cr3t:s3cr3t@server.test/?k=s3cr3t",
        "http://server.test/\n?k=s3cr3t",
    ] {
        told(endpoint, &client.upload(endpoint).send("").unwrap_err());
        told(endpoint, &client.append(endpoint).send("").unwrap_err());
        told(endpoint, &client.inspect(endpoint).send().unwrap_err());
    }
    let call = || client.upload(ENDPOINT);
    let wrong = call().header("x-api-key", "s3cr3t\n").send("");
    assert!(matches!(wrong, Err(Error::Header(_))), "{wrong:?}");
    told("a value", &wrong.unwrap_err());
    let wrong = call().header("content-length", SECRET).send("");
    told("a field of the protocol", &wrong.unwrap_err());
    let wrong = call().metadata("a b", SECRET).send("");
    told("metadata", &wrong.unwrap_err());
}

#[test]
fn s3_no_error_of_the_store_shows_a_secret() {
    let folder = TempDir::new().unwrap();
    let store = Store::at(folder.path().join("state"));
    let entry = store.entry_named("a".as_ref(), ENDPOINT).unwrap();
    let busy = store.entry_named("a".as_ref(), ENDPOINT).unwrap_err();
    told("busy", &busy.into());
    for text in [
        "s3cr3t",
        "tus-checkpoint 1\nurl http://server.test/1?k=s3cr3t\n",
        "tus-checkpoint 1\ns3cr3t http://server.test/1?k=s3cr3t\nend 0\n",
    ] {
        fs::write(entry.path(), text).unwrap();
        told("damaged", &entry.load().unwrap_err().into());
    }
}
