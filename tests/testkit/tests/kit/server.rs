//! Tus 1.0.0 by its letter. The numbers are those of the facts on the protocol: C for the core, N for
//! creation, D for termination. The other extensions have files of their own.

use http::Method;
use tus_testkit::{Extension, Options, Server};

use crate::{
    assert_status, begin, create, create_with, delete, head, header, patch, request, server, with,
    with_upload, without,
};

#[test]
fn c1_every_request_but_options_carries_the_version() {
    let (mut server, target) = with_upload(5, []);
    for request in [
        create(5),
        head(&target),
        patch(&target, 0, b"hello"),
        delete(&target),
    ] {
        assert_status(
            &server.handle(without(request.clone(), "tus-resumable")),
            412,
        );
        assert_status(&server.handle(with(request, "tus-resumable", "0.2.2")), 412);
    }
    assert_eq!(server.upload(&target).unwrap().offset(), 0);
    assert_eq!(server.uploads().count(), 1);
    assert_status(
        &server.handle(without(
            request(Method::OPTIONS, "/files/", &[], b""),
            "tus-resumable",
        )),
        204,
    );
}

#[test]
fn c1_a_version_on_options_is_tolerated_and_recorded() {
    let mut server = server([]);
    assert_status(
        &server.handle(request(Method::OPTIONS, "/files/", &[], b"")),
        204,
    );
    assert!(server.log()[0].headers.contains_key("tus-resumable"));
}

#[test]
fn c2_the_refusal_of_a_version_names_those_that_are_spoken() {
    let mut server = server([]);
    let response = server.handle(with(create(5), "tus-resumable", "2.0.0"));
    assert_status(&response, 412);
    assert_eq!(header(&response, "tus-version"), Some("1.0.0"));
}

#[test]
fn c3_head_finds_the_offset() {
    let (mut server, target) = with_upload(5, []);
    server.handle(patch(&target, 0, b"hel"));
    let response = server.handle(head(&target));
    assert_status(&response, 200);
    assert_eq!(header(&response, "upload-offset"), Some("3"));
    assert_eq!(header(&response, "upload-length"), Some("5"));
    assert_eq!(header(&response, "cache-control"), Some("no-store"));
    assert_eq!(header(&response, "tus-resumable"), Some("1.0.0"));
}

#[test]
fn c3_what_is_not_there_has_no_offset() {
    let response = server([]).handle(head("/files/none"));
    assert_status(&response, 404);
    assert_eq!(header(&response, "upload-offset"), None);
    assert_eq!(header(&response, "tus-resumable"), Some("1.0.0"));
}

#[test]
fn c4_a_patch_of_another_media_type_changes_nothing() {
    let (mut server, target) = with_upload(5, []);
    assert_status(
        &server.handle(without(patch(&target, 0, b"hello"), "content-type")),
        415,
    );
    assert_status(
        &server.handle(with(
            patch(&target, 0, b"hello"),
            "content-type",
            "text/plain",
        )),
        415,
    );
    assert_eq!(server.upload(&target).unwrap().offset(), 0);
}

#[test]
fn c4_a_patch_at_another_offset_changes_nothing() {
    let (mut server, target) = with_upload(5, []);
    server.handle(patch(&target, 0, b"he"));
    for offset in [0, 1, 3, 5, u64::MAX] {
        assert_status(&server.handle(patch(&target, offset, b"l")), 409);
    }
    for offset in [
        "",
        "-1",
        "+2",
        "2 ",
        "3abc",
        "18446744073709551616",
        "0x2",
        "2, 2",
    ] {
        assert_status(
            &server.handle(with(patch(&target, 2, b"l"), "upload-offset", offset)),
            400,
        );
    }
    assert_status(
        &server.handle(without(patch(&target, 2, b"l"), "upload-offset")),
        400,
    );
    assert_eq!(server.upload(&target).unwrap().content(), b"he");
}

#[test]
fn c4_a_patch_beyond_the_length_changes_nothing() {
    let (mut server, target) = with_upload(5, []);
    assert_status(&server.handle(patch(&target, 0, b"hello!")), 413);
    assert_eq!(server.upload(&target).unwrap().offset(), 0);
}

#[test]
fn c5_c6_pieces_are_acknowledged_with_the_sum_of_them() {
    let (mut server, target) = with_upload(10, []);
    for (from, piece) in [
        (0, &b"012"[..]),
        (3, b"3456"),
        (7, b""),
        (7, b"789"),
        (10, b""),
    ] {
        let response = server.handle(patch(&target, from, piece));
        assert_status(&response, 204);
        let to = from + piece.len() as u64;
        assert_eq!(header(&response, "upload-offset"), Some(&*to.to_string()));
        assert_eq!(server.log().last().unwrap().kept, from..to);
    }
    let upload = server.upload(&target).unwrap();
    assert_eq!(upload.content(), b"0123456789");
    assert!(upload.is_complete());
}

#[test]
fn c8_options_say_what_there_is() {
    let options = Options {
        max_size: Some(99),
        ..Options::default()
    };
    let response = Server::new(options).handle(request(Method::OPTIONS, "/files/", &[], b""));
    assert_eq!(header(&response, "tus-version"), Some("1.0.0"));
    assert_eq!(
        header(&response, "tus-extension"),
        Some(
            "creation,creation-with-upload,creation-defer-length,expiration,checksum,\
             checksum-trailer,termination,concatenation,concatenation-unfinished"
        )
    );
    assert_eq!(
        header(&response, "tus-checksum-algorithm"),
        Some("sha1,sha256,sha512,md5,crc32")
    );
    assert_eq!(header(&response, "tus-max-size"), Some("99"));

    let options = Options {
        extensions: vec![],
        ..Options::default()
    };
    let response = Server::new(options).handle(request(Method::OPTIONS, "/files/", &[], b""));
    for name in ["tus-extension", "tus-checksum-algorithm", "tus-max-size"] {
        assert_eq!(header(&response, name), None);
    }
}

#[test]
fn c9_a_post_may_stand_for_patch_and_delete() {
    let (mut server, target) = with_upload(5, []);
    let post = |request: http::Request<bytes::Bytes>, method| {
        let mut request = with(request, "x-http-method-override", method);
        *request.method_mut() = Method::POST;
        request
    };
    assert_status(
        &server.handle(post(patch(&target, 0, b"hello"), "patch")),
        400,
    );
    assert_status(&server.handle(post(head(&target), "HEAD")), 400);
    assert_status(
        &server.handle(with(
            patch(&target, 0, b"hello"),
            "x-http-method-override",
            "PATCH",
        )),
        400,
    );
    assert_status(
        &server.handle(post(patch(&target, 0, b"hello"), "PATCH")),
        204,
    );
    assert_eq!(server.log().last().unwrap().method, Method::PATCH);
    assert_eq!(server.upload(&target).unwrap().content(), b"hello");
    assert_status(&server.handle(post(delete(&target), "DELETE")), 204);
}

#[test]
fn n1_a_creation_has_a_length() {
    let mut server = server([]);
    assert_status(&server.handle(without(create(5), "upload-length")), 400);
    assert_status(
        &server.handle(with(create(5), "upload-length", "five")),
        400,
    );
    assert_status(
        &server.handle(with(create(5), "upload-defer-length", "1")),
        400,
    );
    assert_status(
        &server.handle(request(
            Method::POST,
            "/elsewhere/",
            &[("upload-length", "5")],
            b"",
        )),
        405,
    );
    assert_eq!(server.uploads().count(), 0);
    assert_status(&server.handle(create(u64::MAX)), 201);
}

#[test]
fn n2_a_creation_is_answered_with_its_location() {
    let mut server = server([]);
    let response = server.handle(create(5));
    assert_status(&response, 201);
    let target = header(&response, "location").unwrap();
    assert!(target.starts_with("/files/"));
    assert_eq!(server.upload(target).unwrap().length(), Some(5));
    assert_eq!(
        server
            .upload(&format!("http://example.org:81{target}"))
            .unwrap()
            .target(),
        target
    );
}

#[test]
fn n3_an_empty_upload_is_complete() {
    let mut server = server([]);
    let response = server.handle(create(0));
    let target = header(&response, "location").unwrap();
    assert!(server.upload(target).unwrap().is_complete());
    assert_eq!(
        header(&server.handle(head(target)), "upload-offset"),
        Some("0")
    );
}

#[test]
fn n4_metadata_comes_back_as_it_was() {
    let mut server = server([]);
    let metadata = "filename d29ybGQ=,is_confidential";
    let response = server.handle(with(create(5), "upload-metadata", metadata));
    let target = header(&response, "location").unwrap();
    assert_eq!(
        header(&server.handle(head(target)), "upload-metadata"),
        Some(metadata)
    );
    let upload = server.upload(target).unwrap();
    assert_eq!(upload.metadata(), Some(metadata));
    assert_eq!(upload.metadatum("filename").unwrap(), b"world");
    assert_eq!(upload.metadatum("is_confidential").unwrap(), b"");
    assert_eq!(upload.metadatum("other"), None);
}

#[test]
fn n4_metadata_that_is_none_is_refused() {
    let mut server = server([]);
    for metadata in [
        "",
        "a YQ==,a YQ==",
        "a YQ==, b YQ==",
        "a not-base64!",
        ",a YQ==",
    ] {
        assert_status(
            &server.handle(with(create(5), "upload-metadata", metadata)),
            400,
        );
    }
    assert_eq!(server.uploads().count(), 0);
}

#[test]
fn n5_what_is_too_large_is_not_created() {
    let mut server = Server::new(Options {
        max_size: Some(10),
        ..Options::default()
    });
    assert_status(&server.handle(create(11)), 413);
    assert_eq!(server.uploads().count(), 0);
    assert_status(&server.handle(create(10)), 201);
}

#[test]
fn d1_what_was_deleted_is_gone() {
    let (mut server, target) = with_upload(5, []);
    server.handle(patch(&target, 0, b"he"));
    assert_status(&server.handle(delete(&target)), 204);
    for request in [head(&target), patch(&target, 2, b"llo"), delete(&target)] {
        assert_status(&server.handle(request), 404);
    }
    assert!(server.upload(&target).is_none());
}

#[test]
fn extensions_that_are_off_are_not_there() {
    let only = |extension| {
        Server::new(Options {
            extensions: vec![extension],
            ..Options::default()
        })
    };
    let mut server = only(Extension::Creation);
    let response = server.handle(create(5));
    let target = header(&response, "location").unwrap();
    assert_status(&server.handle(delete(target)), 405);
    for (name, value) in [
        ("upload-defer-length", "1"),
        ("upload-concat", "partial"),
        ("upload-concat", "final;/files/a"),
    ] {
        let request = without(with(create(5), name, value), "upload-length");
        assert_status(&server.handle(request), 400);
        assert_status(&server.handle(with(create(5), name, value)), 400);
    }
    for (name, value) in [
        ("upload-length", "5"),
        ("upload-checksum", "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="),
        ("trailer", "Upload-Checksum"),
    ] {
        let request = with(patch(target, 0, b"hello"), name, value);
        assert_status(&server.handle(request), 400);
    }
    for (name, value) in [
        ("upload-checksum", "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00="),
        ("trailer", "Upload-Checksum"),
    ] {
        for request in [create(5), create_with(5, b"hello")] {
            assert_status(&server.handle(with(request, name, value)), 400);
        }
    }
    let options = server.handle(request(Method::OPTIONS, "/files/", &[], b""));
    assert_eq!(header(&options, "tus-extension"), Some("creation"));
    assert_eq!(header(&options, "tus-checksum-algorithm"), None);
    assert_eq!(server.upload(target).unwrap().offset(), 0);
    assert_eq!(server.uploads().count(), 1);

    assert_status(&only(Extension::Termination).handle(create(5)), 405);
}

#[test]
fn posts_and_patches_tell_their_length() {
    let (mut server, target) = with_upload(5, []);
    for request in [create(5), patch(&target, 0, b"hello")] {
        assert_status(
            &server.handle(without(request.clone(), "content-length")),
            411,
        );
        assert_status(
            &server.handle(with(request, "transfer-encoding", "chunked")),
            411,
        );
    }
    assert_status(
        &server.handle(with(patch(&target, 0, b"hello"), "content-length", "4")),
        400,
    );
    assert_eq!(server.upload(&target).unwrap().offset(), 0);
    assert_eq!(server.uploads().count(), 1);
}

#[test]
fn protocol_headers_are_there_once() {
    let (mut server, target) = with_upload(5, []);
    for name in [
        "tus-resumable",
        "content-length",
        "content-type",
        "upload-offset",
    ] {
        let mut request = patch(&target, 0, b"hello");
        let value = request.headers()[name].clone();
        request.headers_mut().append(name, value);
        assert_status(&server.handle(request), 400);
    }
    assert_eq!(server.upload(&target).unwrap().offset(), 0);
}

#[test]
fn a_body_that_breaks_off_leaves_what_arrived() {
    let (mut server, target) = with_upload(10, []);
    let reading = begin(&mut server, patch(&target, 0, b"0123456789"));
    assert_eq!(server.locks(), 1);
    assert!(server.body(&reading, b"012"));
    assert!(server.body(&reading, b"34"));
    server.abort(reading);
    assert_eq!(server.locks(), 0);
    assert_eq!(server.upload(&target).unwrap().content(), b"01234");
    let record = &server.log()[0];
    assert_eq!(
        (record.body, record.kept.clone(), record.status),
        (5, 0..5, None)
    );
    assert_eq!(
        header(&server.handle(head(&target)), "upload-offset"),
        Some("5")
    );
}

#[test]
fn a_body_in_pieces_is_as_good_as_whole() {
    let (mut server, target) = with_upload(10, []);
    let reading = begin(&mut server, patch(&target, 0, b"0123456789"));
    for piece in [
        &b"0"[..],
        b"",
        b"12345678",
        b"9",
        b"more than was announced",
    ] {
        assert!(server.body(&reading, piece));
    }
    let response = server.finish(reading);
    assert_status(&response, 204);
    assert_eq!(header(&response, "upload-offset"), Some("10"));
    assert_eq!(server.upload(&target).unwrap().content(), b"0123456789");
}

#[test]
fn a_body_that_ends_early_is_refused_and_kept() {
    let (mut server, target) = with_upload(10, []);
    let reading = begin(&mut server, patch(&target, 0, b"0123456789"));
    server.body(&reading, b"0123");
    let response = server.finish(reading);
    assert_status(&response, 400);
    assert!(response.body().starts_with(b"ERR_UNEXPECTED_EOF"));
    assert_eq!(server.upload(&target).unwrap().offset(), 4);
}

#[test]
fn a_newcomer_takes_the_upload_over() {
    for request in [head, delete, |target: &str| patch(target, 3, b"3456789")] {
        let (mut server, target) = with_upload(10, []);
        let old = begin(&mut server, patch(&target, 0, b"0123456789"));
        server.body(&old, b"012");
        assert!(server.handle(request(&target)).status().is_success());
        assert_eq!(server.locks(), 0);
        assert!(!server.body(&old, b"XXXXXXX"));
        let response = server.finish(old);
        assert_status(&response, 400);
        assert!(response.body().starts_with(b"ERR_UPLOAD_INTERRUPTED"));
        assert!(
            server
                .upload(&target)
                .is_none_or(|upload| !upload.content().contains(&b'X'))
        );
    }
}

#[test]
fn uploads_can_be_placed_and_removed_behind_the_clients_back() {
    let mut server = server([]);
    let target = server.place(u64::MAX, u64::MAX - 2);
    let response = server.handle(head(&target));
    assert_eq!(
        header(&response, "upload-offset"),
        Some("18446744073709551613")
    );
    assert_status(&server.handle(patch(&target, u64::MAX - 2, b"abc")), 413);
    assert_status(&server.handle(patch(&target, u64::MAX - 2, b"ab")), 204);
    assert_eq!(server.upload(&target).unwrap().content(), b"ab");
    assert!(server.remove(&format!("http://127.0.0.1:1{target}")));
    assert!(!server.remove(&target));
    assert_status(&server.handle(head(&target)), 404);
}

#[test]
fn the_same_requests_give_the_same_answers() {
    let run = || {
        let mut server = server([]);
        let response = server.handle(create(5));
        (0..3)
            .map(|_| server.handle(create(7)))
            .chain([response])
            .map(|answer| format!("{answer:?}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_crash_loses_the_last_bytes_and_ends_who_was_writing() {
    let (mut server, target) = with_upload(10, []);
    assert_status(&server.handle(patch(&target, 0, b"01234")), 204);
    let reading = begin(&mut server, patch(&target, 5, b"56789"));
    assert!(server.body(&reading, b"56"));
    assert_eq!(server.lose(&target, 3), 3);
    assert!(!server.body(&reading, b"789"), "its request has ended");
    assert_eq!(server.upload(&target).unwrap().content(), b"0123");
    assert_eq!(server.lose(&target, 99), 4, "no more than there is");
    assert_eq!(server.lose("/files/none", 1), 0);
}

#[test]
fn another_writer_goes_no_further_than_the_length() {
    let (mut server, target) = with_upload(5, []);
    assert_status(&server.handle(patch(&target, 0, b"012")), 204);
    assert_eq!(server.write(&target, b"xyz"), 2);
    assert_eq!(server.upload(&target).unwrap().content(), b"012xy");
    assert_eq!(server.write(&target, b"z"), 0);
    assert_eq!(server.write("/files/none", b"z"), 0);
}
