//! Asking first, small files, deletion.

use tus_driver::{Client, Error};
use tus_proto::{Extension, Misuse};
use tus_testkit::{Options, Quirk};

use crate::line::{ENDPOINT, Line, bytes, good, hasty, lost, trouble};

fn without(extension: tus_testkit::Extension) -> Options {
    let mut options = Options::default();
    options.extensions.retain(|other| *other != extension);
    options
}

#[test]
fn a_thousand_small_files_cost_a_thousand_and_one_requests() {
    let line = Line::good();
    let client = line.client();
    for n in 0..1_000_usize {
        let mut content = bytes(4096);
        content[..8].copy_from_slice(&n.to_be_bytes());
        let done = client.upload(ENDPOINT).send(content.clone()).unwrap();
        let server = line.server();
        let upload = server.upload(&done.url.expose()).unwrap();
        assert!(upload.is_complete() && upload.content() == content);
    }
    let methods = line.methods();
    assert_eq!(methods.split(' ').count(), 1_001);
    assert!(
        methods.starts_with("OPTIONS POST POST"),
        "{}",
        &methods[..20]
    );
}

#[test]
fn clones_know_what_one_of_them_was_told() {
    let line = Line::good();
    let client = line.client();
    assert!(client.discover(ENDPOINT).send().unwrap().is_some());
    let client = client.clone();
    let url = client.upload(ENDPOINT).send("hello").unwrap().url.expose();
    client.terminate(url).send().unwrap();
    assert_eq!(line.methods(), "OPTIONS POST DELETE");
}

// Another server may be behind it.
#[test]
fn an_endpoint_below_another_is_asked_itself() {
    let line = Line::good();
    let client = line.client();
    client.discover(ENDPOINT).send().unwrap();
    let below = client.upload(format!("{ENDPOINT}below/")).config(hasty);
    below.send("hello").unwrap_err();
    let methods = line.methods();
    assert!(methods.starts_with("OPTIONS OPTIONS"), "{methods}");
}

#[test]
fn a_server_that_does_not_say_is_asked_once() {
    let line = Line::to(
        Options {
            quirks: vec![Quirk::NoOptions(405)],
            ..Options::default()
        },
        [],
    );
    let client = line.client();
    client.upload(ENDPOINT).send("hello").unwrap();
    client.upload(ENDPOINT).send("hello").unwrap();
    assert_eq!(line.methods(), "OPTIONS POST PATCH POST PATCH");
    assert_eq!(client.discover(ENDPOINT).send().unwrap(), None);
}

#[test]
fn a_server_that_cannot_be_asked_is_left_alone_for_a_while() {
    let line = Line::with([trouble(|_, _, _, _| Err(lost()))]);
    let client = line.client();
    client.upload(ENDPOINT).send("hello").unwrap();
    client.upload(ENDPOINT).send("hello").unwrap();
    assert_eq!(line.methods(), "POST PATCH POST PATCH");
    // Who asks on purpose is answered.
    assert!(client.discover(ENDPOINT).send().unwrap().is_some());
    client.upload(ENDPOINT).send("hello").unwrap();
    assert_eq!(line.methods(), "POST PATCH POST PATCH OPTIONS POST");
}

// 34
#[test]
fn a_body_that_the_server_ignores_is_sent_again() {
    let line = Line::to(
        Options {
            quirks: vec![Quirk::IgnoresCreationBody],
            ..Options::default()
        },
        [],
    );
    line.client().upload(ENDPOINT).send("hello").unwrap();
    assert_eq!(line.content(), b"hello");
    assert_eq!(line.methods(), "OPTIONS POST PATCH");
}

#[test]
fn what_is_not_offered_is_refused_before_it_is_sent() {
    let line = Line::to(without(tus_testkit::Extension::Termination), []);
    let client = line.client();
    let url = client.upload(ENDPOINT).send("hello").unwrap().url.expose();
    let refused = client.terminate(&url).send().unwrap_err();
    assert!(
        matches!(
            refused,
            Error::Misuse(Misuse::NotOffered(Extension::Termination))
        ),
        "{refused}"
    );
    let tried = client
        .terminate(&url)
        .config(|config| config.try_unoffered = true);
    let rejected = tried.send().unwrap_err();
    assert!(
        matches!(rejected, Error::Upload(tus_proto::Error::Rejected { .. })),
        "{rejected}"
    );
    assert_eq!(line.server().uploads().count(), 1);
}

#[test]
fn a_file_beyond_the_servers_maximum_is_refused_before_it_is_sent() {
    let line = Line::to(
        Options {
            max_size: Some(4),
            ..Options::default()
        },
        [],
    );
    let refused = line.client().upload(ENDPOINT).send("hello").unwrap_err();
    assert!(
        matches!(
            refused,
            Error::Misuse(Misuse::TooLarge {
                length: 5,
                limit: 4
            })
        ),
        "{refused}"
    );
    assert_eq!(line.methods(), "OPTIONS");
}

// 33
#[test]
fn what_is_not_there_is_deleted() {
    let line = Line::good();
    let client = line.client();
    let url = client.upload(ENDPOINT).send("hello").unwrap().url.expose();
    for _ in 0..2 {
        client.terminate(&url).send().unwrap();
    }
    assert_eq!(line.server().uploads().count(), 0);
}

#[test]
fn what_is_asked_for_is_shown_without_secrets() {
    let call = Client::over(Line::good())
        .upload("http://user:sesame@server.test/files/")
        .header("x-key", "sesame");
    assert!(!format!("{call:?}").contains("sesame"), "{call:?}");
}

#[test]
fn a_refused_question_ends_nothing() {
    let refusal = || {
        trouble(|_, _, _, _| {
            let response = http::Response::builder().status(401);
            Ok(response.body(bytes::Bytes::new()).unwrap())
        })
    };
    let line = Line::with([refusal(), good()]);
    let done = line.client().upload(ENDPOINT).config(hasty).send("hello");
    done.unwrap();
    let refused = Line::with([refusal()]);
    let error = refused.client().discover(ENDPOINT).send().unwrap_err();
    assert!(error.to_string().contains("401"), "{error}");
}
