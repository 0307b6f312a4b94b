//! Checksums; K in the facts on the protocol.

use bytes::Bytes;
use http::{HeaderMap, Request};
use tus_testkit::{Extension, Options, Quirk, Server, Trailers};

use crate::{
    assert_status, begin, create_with, defer, location, patch, post, server, with, with_upload,
    without,
};

/// Of `hello`.
pub(crate) const SHA1: &str = "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=";
const ALL: [&str; 5] = [
    SHA1,
    "sha256 LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
    "sha512 m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==",
    "md5 XUFAKrxLKna5cZ2REBfFkg==",
    "crc32 NhCmhg==",
];

fn checked(request: Request<Bytes>, checksum: &str) -> Request<Bytes> {
    with(request, "upload-checksum", checksum)
}

#[test]
fn k1_a_body_that_is_what_it_says_is_kept() {
    for checksum in ALL {
        let (mut server, target) = with_upload(10, []);
        let response = server.handle(checked(patch(&target, 0, b"hello"), checksum));
        assert_status(&response, 204);
        assert_eq!(server.upload(&target).unwrap().content(), b"hello");
        assert_eq!(server.log()[0].kept, 0..5);
    }
}

#[test]
fn k1_nothing_is_kept_of_a_body_that_is_not() {
    for checksum in ALL {
        let (mut server, target) = with_upload(10, []);
        let response = server.handle(checked(patch(&target, 0, b"hellO"), checksum));
        assert_status(&response, 460);
        assert_eq!(server.upload(&target).unwrap().offset(), 0);
        let record = &server.log()[0];
        assert_eq!((record.body, record.kept.clone()), (5, 0..0));
        assert_status(
            &server.handle(checked(patch(&target, 0, b"hello"), checksum)),
            204,
        );
    }
}

#[test]
fn k1_algorithms_and_digests_that_are_none_are_refused() {
    let (mut server, target) = with_upload(10, []);
    for checksum in [
        "",
        "sha1",
        "sha1 ",
        "SHA1 qvTGHdzF6KLavt4PO0gs2a6pQ00=",
        "sha1  qvTGHdzF6KLavt4PO0gs2a6pQ00=",
        "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00",
        "sha1 NhCmhg==",
        "sha1 !",
        "blake3 NhCmhg==",
    ] {
        let request = checked(patch(&target, 0, b"hello"), checksum);
        assert_status(&server.handle(request), 400);
    }
    let mut twice = checked(patch(&target, 0, b"hello"), SHA1);
    twice
        .headers_mut()
        .append("upload-checksum", SHA1.parse().unwrap());
    assert_status(&server.handle(twice), 400);
    assert_eq!(server.upload(&target).unwrap().offset(), 0);
}

#[test]
fn k2_only_the_announced_algorithms_are_served() {
    let mut server = Server::new(Options {
        checksum_algorithms: vec!["sha1".into(), "own".into()],
        ..Options::default()
    });
    let target = server.place(10, 0);
    for (checksum, status) in [(ALL[1], 400), ("own AA==", 400), (SHA1, 204)] {
        let request = checked(patch(&target, 0, b"hello"), checksum);
        assert_status(&server.handle(request), status);
    }
}

#[test]
fn k1_a_checked_body_that_breaks_off_keeps_nothing() {
    for aborted in [true, false] {
        let (mut server, target) = with_upload(10, []);
        let reading = begin(&mut server, checked(patch(&target, 0, b"hello"), SHA1));
        assert!(server.body(&reading, b"hell"));
        if aborted {
            server.abort(reading);
        } else {
            assert_status(&server.finish(reading), 400);
        }
        assert_eq!(server.upload(&target).unwrap().offset(), 0);
        assert_eq!(server.locks(), 0);
    }
}

#[test]
fn k1_a_creation_is_checked_too() {
    let mut server = server([]);
    assert_status(&server.handle(checked(create_with(5, b"hellO"), SHA1)), 460);
    assert_status(&server.handle(checked(create_with(5, b""), SHA1)), 460);
    assert_status(&server.handle(checked(create_with(5, b"hello"), "x")), 400);
    assert_eq!(server.uploads().count(), 0);
    let target = location(&server.handle(checked(create_with(5, b"hello"), SHA1)));
    assert_eq!(server.upload(&target).unwrap().content(), b"hello");

    let reading = begin(&mut server, checked(create_with(5, b"hello"), SHA1));
    server.body(&reading, b"hell");
    server.abort(reading);
    let orphan = server.uploads().last().unwrap();
    assert_ne!(orphan.target(), target);
    assert_eq!(orphan.offset(), 0);
}

#[test]
fn k1_an_empty_creation_that_is_checked_completes_an_upload_too() {
    let empty = "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=";
    let quirk = Quirk::RefusesCompletion(422);
    for quirks in [vec![quirk.clone()], vec![quirk, Quirk::IgnoresCreationBody]] {
        let mut server = server(quirks);
        assert_status(&server.handle(checked(create_with(0, b""), empty)), 422);
        assert_status(&server.handle(checked(create_with(5, b""), empty)), 201);
        assert!(server.uploads().next().unwrap().is_complete());
    }
    let mut server = server([Quirk::MovesCompleted]);
    assert_status(&server.handle(checked(create_with(0, b""), empty)), 201);
    assert_eq!((server.moved().len(), server.uploads().count()), (1, 0));
}

#[test]
fn k1_a_length_waits_for_the_check_too() {
    let mut server = server([]);
    let target = location(&server.handle(defer()));
    let last = |body: &[u8]| checked(with(patch(&target, 0, body), "upload-length", "5"), SHA1);
    assert_status(&server.handle(last(b"hellO")), 460);
    assert_eq!(server.upload(&target).unwrap().length(), None);
    assert_status(&server.handle(last(b"hello")), 204);
    assert!(server.upload(&target).unwrap().is_complete());
}

#[test]
fn k1_no_creation_has_a_checksum_that_is_none() {
    let mut thrown_away = Server::new(Options {
        extensions: vec![Extension::Creation, Extension::Checksum],
        ..Options::default()
    });
    let mut server = server([]);
    let part = location(&server.handle(post(
        &[("upload-concat", "partial"), ("upload-length", "0")],
        b"",
    )));
    let concat = format!("final;{part}");
    let last = post(&[("upload-concat", &*concat)], b"");
    for (server, request) in [
        (&mut thrown_away, create_with(5, b"hello")),
        (&mut server, last),
    ] {
        let before = server.uploads().count();
        assert_status(&server.handle(checked(request.clone(), "x")), 400);
        let mut twice = checked(request.clone(), SHA1);
        twice
            .headers_mut()
            .append("upload-checksum", SHA1.parse().unwrap());
        assert_status(&server.handle(twice), 400);
        assert_eq!(server.uploads().count(), before);
        assert_status(&server.handle(request), 201);
    }
}

/// A PATCH in chunks, at 0, that announces a digest as a trailer.
fn chunked(target: &str, body: &[u8], checksum: Option<&str>) -> Request<Bytes> {
    let request = without(patch(target, 0, body), "content-length");
    trailing(with(request, "transfer-encoding", "chunked"), checksum)
}

fn trailing(request: Request<Bytes>, checksum: Option<&str>) -> Request<Bytes> {
    let mut request = with(request, "trailer", "Upload-Checksum");
    let mut fields = HeaderMap::new();
    if let Some(checksum) = checksum {
        fields.insert("upload-checksum", checksum.parse().unwrap());
    }
    request.extensions_mut().insert(Trailers(fields));
    request
}

#[test]
fn k3_the_digest_may_come_after_the_body() {
    for request in [
        |target: &str, checksum| chunked(target, b"hello", checksum),
        |target: &str, checksum| trailing(patch(target, 0, b"hello"), checksum),
    ] {
        for (checksum, status, offset) in [
            (Some(SHA1), 204, 5),
            (Some("sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="), 460, 0),
            (Some("sha1 x"), 400, 0),
            (None, 400, 0),
        ] {
            let (mut server, target) = with_upload(10, []);
            let outcome = server.exchange(request(&target, checksum), None);
            let tus_testkit::Ending::Answer(response) = outcome.ending else {
                panic!("{outcome:?}")
            };
            assert_status(&response, status);
            assert_eq!(server.upload(&target).unwrap().offset(), offset);
            let said = server.log()[0].trailers.get("upload-checksum");
            assert_eq!(said.map(|value| value.to_str().unwrap()), checksum);
        }
    }
}

#[test]
fn k3_a_body_in_chunks_ends_at_the_length() {
    let (mut server, target) = with_upload(4, []);
    assert_status(&server.handle(chunked(&target, b"hello", Some(SHA1))), 413);
    assert_eq!(server.upload(&target).unwrap().offset(), 0);

    let reading = begin(&mut server, chunked(&target, b"", None));
    assert!(server.body(&reading, b"hell"));
    assert!(!server.body(&reading, b"o"));
    assert!(!server.body(&reading, b""));
    assert_status(&server.finish(reading), 413);

    let headers = [("upload-length", "4"), ("content-type", crate::OCTETS)];
    let create = without(post(&headers, b"hello"), "content-length");
    let create = trailing(with(create, "transfer-encoding", "chunked"), Some(SHA1));
    assert_status(&server.handle(create), 413);
    assert_eq!(server.uploads().count(), 1);
}

#[test]
fn k3_chunks_need_a_digest_at_their_end() {
    let (mut server, target) = with_upload(10, []);
    let request = chunked(&target, b"hello", Some(SHA1));
    for (request, status) in [
        (with(request.clone(), "transfer-encoding", "Chunked"), 204),
        (without(request.clone(), "trailer"), 411),
        (with(request.clone(), "trailer", "Expires"), 411),
        (with(request.clone(), "transfer-encoding", "gzip"), 411),
        (with(request.clone(), "content-length", "5"), 411),
        (checked(request, SHA1), 400),
    ] {
        assert_status(&server.handle(request), status);
    }
    assert_eq!(server.upload(&target).unwrap().content(), b"hello");
}

#[test]
fn quirk_checksums_are_ignored() {
    let (mut server, target) = with_upload(10, [Quirk::IgnoresChecksum]);
    let wrong = "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_status(
        &server.handle(checked(patch(&target, 0, b"01"), wrong)),
        204,
    );
    assert_status(&server.handle(checked(patch(&target, 2, b"23"), "x")), 204);
    let trailer = trailing(patch(&target, 4, b"45"), None);
    assert_status(&server.handle(trailer), 204);
    let reading = begin(&mut server, checked(patch(&target, 6, b"6789"), wrong));
    server.body(&reading, b"67");
    server.abort(reading);
    assert_eq!(server.upload(&target).unwrap().content(), b"01234567");
}

#[test]
fn quirk_a_mismatch_has_another_status() {
    for status in [417, 400] {
        let (mut server, target) = with_upload(10, [Quirk::MismatchIs(status)]);
        let response = server.handle(checked(patch(&target, 0, b"hellO"), SHA1));
        assert_status(&response, status);
        assert_eq!(server.upload(&target).unwrap().offset(), 0);
    }
}

#[test]
fn quirk_a_part_is_taken_of_a_checked_body() {
    let (mut server, target) = with_upload(10, [Quirk::TakesOnly(2)]);
    let response = server.handle(checked(patch(&target, 0, b"hello"), SHA1));
    assert_status(&response, 204);
    assert_eq!(server.upload(&target).unwrap().content(), b"he");
}
