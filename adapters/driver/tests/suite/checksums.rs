//! Checksums, before the bytes and after them.

use std::io::Read;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request};
use tus_driver::{ALGORITHMS, Client, Control, Error, Transport, UploadCall};
use tus_proto::{Algorithm, Body, Config, Misuse, Terms};
use tus_testkit::{Begun, Options, Quirk, Server, checksum};

use crate::line::{Answer, ENDPOINT, Line, bytes, good, hasty, trouble};

fn upload<'a>(client: &Client, algorithms: &'static [Algorithm]) -> UploadCall<'a> {
    client.upload(ENDPOINT).config(move |config: &mut Config| {
        hasty(config);
        config.request_size = Some(10_000);
        config.checksums = algorithms.to_vec();
    })
}

#[test]
fn every_algorithm_is_understood() {
    for algorithm in &ALGORITHMS {
        let line = Line::good();
        upload(&line.client(), &[])
            .config(|config| config.checksums = vec![algorithm.clone()])
            .send(bytes(25_000))
            .unwrap();
        assert!(line.content() == bytes(25_000), "{algorithm}");
        let server = line.server();
        let patches = server
            .log()
            .iter()
            .filter(|record| record.method == "PATCH");
        let sent: Vec<_> = patches
            .map(|record| record.headers["upload-checksum"].to_str().unwrap())
            .collect();
        assert_eq!(sent.len(), 3);
        let prefix = format!("{algorithm} ");
        assert!(
            sent.iter().all(|sent| sent.starts_with(&prefix)),
            "{sent:?}"
        );
    }
}

#[test]
fn the_first_that_the_server_offers_is_used() {
    let options = Options {
        checksum_algorithms: vec!["md5".to_owned(), "sha256".to_owned()],
        ..Options::default()
    };
    let line = Line::to(options.clone(), []);
    upload(
        &line.client(),
        &[Algorithm::SHA1, Algorithm::SHA256, Algorithm::MD5],
    )
    .send(bytes(10))
    .unwrap();
    let sent = line.server().log().last().unwrap().headers["upload-checksum"].clone();
    assert!(sent.to_str().unwrap().starts_with("sha256 "), "{sent:?}");

    let line = Line::to(options, []);
    let error = upload(&line.client(), &[Algorithm::SHA1])
        .send(bytes(10))
        .unwrap_err();
    assert!(
        matches!(&error, Error::Misuse(Misuse::NoAlgorithm { offered }) if offered.len() == 2),
        "{error}"
    );
    assert_eq!(line.methods(), "OPTIONS");
}

/// Something on the way changes a byte.
#[test]
fn bytes_that_arrive_changed_are_refused_and_sent_again() {
    for status in [460, 417, 400] {
        let flip = || {
            trouble(|line: &Line, request, body, control| {
                let mut changed = Vec::new();
                control.counted(body).read_to_end(&mut changed).unwrap();
                changed[7] ^= 1;
                line.serve(request, &mut &changed[..], u64::MAX)
            })
        };
        let quirks = vec![Quirk::MismatchIs(status)];
        let options = Options {
            quirks,
            ..Options::default()
        };
        let line = Line::to(options, [good(), good(), flip()]);
        let sent = upload(&line.client(), &[Algorithm::SHA1]).send(bytes(25_000));
        if status == 400 {
            // That may mean anything.
            assert!(sent.is_err());
            continue;
        }
        sent.unwrap();
        assert!(line.content() == bytes(25_000));
        assert_eq!(line.methods(), "OPTIONS POST PATCH HEAD PATCH PATCH PATCH");
        assert_eq!(line.server().log()[2].status.unwrap(), status);
    }
}

#[test]
fn a_checksum_that_cannot_be_computed_is_an_error_before_any_byte() {
    let line = Line::to(
        Options {
            checksum_algorithms: vec!["xxh3".to_owned()],
            ..Options::default()
        },
        [],
    );
    let error = upload(&line.client(), &[])
        .config(|config| config.checksums = vec![Algorithm::new("xxh3").unwrap()])
        .send(bytes(10))
        .unwrap_err();
    assert!(error.to_string().contains("no checksum xxh3"), "{error}");
    assert_eq!(line.methods(), "OPTIONS POST");
}

/// A transport that sends trailers.
struct Trailing(Mutex<Server>);

impl Transport for Trailing {
    fn exchange(
        &self,
        request: Request<Body>,
        terms: &Terms,
        body: &mut dyn Read,
        control: &Control,
    ) -> Answer {
        let mut server = self.0.lock().unwrap();
        let (mut head, range) = request.into_parts();
        let mut bytes = Vec::new();
        control.counted(body).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len() as u64, range.end - range.start);
        if terms.trailer.is_some() {
            assert_eq!(head.headers.get("content-length"), None);
            assert_eq!(head.headers["trailer"], "Upload-Checksum");
            head.headers
                .insert("transfer-encoding", "chunked".parse().unwrap());
        }
        Ok(match server.begin(&head) {
            Begun::Answered(answer) => answer,
            Begun::Reading(reading) => {
                server.body(&reading, &bytes);
                if let Some(algorithm) = &terms.trailer {
                    let digest = checksum(algorithm.as_str(), &bytes).unwrap();
                    let digest = base64(&digest);
                    let mut trailers = HeaderMap::new();
                    let value = format!("{algorithm} {digest}");
                    trailers.insert("upload-checksum", value.parse().unwrap());
                    server.trailers(&reading, &trailers);
                }
                server.finish(reading)
            }
        })
    }

    fn sends_trailers(&self) -> bool {
        true
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn a_checksum_follows_the_bytes_where_both_sides_can() {
    let transport = Arc::new(Trailing(Mutex::new(Server::new(Options::default()))));
    let client = Client::over(Arc::clone(&transport) as _);
    upload(&client, &[Algorithm::SHA256])
        .send(bytes(25_000))
        .unwrap();
    let server = transport.0.lock().unwrap();
    assert!(server.uploads().next().unwrap().content() == bytes(25_000));
    let patches = server
        .log()
        .iter()
        .filter(|record| record.method == "PATCH");
    for patch in patches {
        assert_eq!(patch.headers.get("upload-checksum"), None);
        let trailer = patch.trailers["upload-checksum"].to_str().unwrap();
        assert!(trailer.starts_with("sha256 "), "{trailer}");
    }
}

#[test]
fn a_checksum_of_a_source_that_fails_is_the_sources_fault() {
    struct Torn;
    impl tus_driver::Source for Torn {
        fn length(&self) -> Option<u64> {
            Some(10)
        }

        fn read_at(&self, _: &mut [u8], _: u64) -> std::io::Result<usize> {
            Err(std::io::Error::other("the tape is torn"))
        }
    }
    let line = Line::good();
    let error = upload(&line.client(), &[Algorithm::SHA1])
        .send(Torn)
        .unwrap_err();
    assert!(
        matches!(&error, Error::Upload(tus_proto::Error::Source { failure, .. })
            if failure.message.contains("the tape is torn")),
        "{error}"
    );
    let _: Option<Bytes> = None;
}
