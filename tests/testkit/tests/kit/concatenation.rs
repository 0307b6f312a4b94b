//! Concatenation; P in the facts on the protocol.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tus_testkit::{Extension, Options, Quirk, Server};

use crate::checksum::SHA1;
use crate::{
    OCTETS, assert_status, begin, create, create_with, delete, head, header, location, patch, post,
    server, with,
};

/// Makes a part, of which these bytes are there.
fn part(server: &mut Server, length: u64, body: &[u8]) -> String {
    let request = with(create_with(length, body), "upload-concat", "partial");
    location(&server.handle(request))
}

fn join(parts: &[&str]) -> Request<Bytes> {
    post(
        &[("upload-concat", &format!("final;{}", parts.join(" ")))],
        b"",
    )
}

fn two_parts(quirks: impl Into<Vec<Quirk>>) -> (Server, String, String) {
    let mut server = server(quirks);
    let one = part(&mut server, 3, b"hel");
    let two = part(&mut server, 2, b"lo");
    (server, one, two)
}

/// Without concatenation-unfinished.
fn strict() -> Server {
    Server::new(Options {
        extensions: vec![
            Extension::Creation,
            Extension::CreationWithUpload,
            Extension::CreationDeferLength,
            Extension::Concatenation,
        ],
        ..Options::default()
    })
}

#[test]
fn p1_a_part_is_an_upload_that_says_so() {
    let mut server = server([]);
    let target = part(&mut server, 5, b"hel");
    assert_status(&server.handle(patch(&target, 3, b"lo")), 204);
    let found = server.handle(head(&target));
    assert_eq!(header(&found, "upload-concat"), Some("partial"));
    assert_eq!(header(&found, "upload-offset"), Some("5"));
    let upload = server.upload(&target).unwrap();
    assert!(upload.is_partial() && !upload.is_final() && upload.is_complete());

    let deferred = [("upload-concat", "partial"), ("upload-defer-length", "1")];
    let target = location(&server.handle(post(&deferred, b"")));
    let last = with(patch(&target, 0, b"x"), "upload-length", "1");
    assert_status(&server.handle(last), 204);
    assert!(server.upload(&target).unwrap().is_complete());

    let plain = location(&server.handle(create(5)));
    assert_eq!(header(&server.handle(head(&plain)), "upload-concat"), None);
}

#[test]
fn p1_what_is_neither_partial_nor_final_is_refused() {
    let mut server = server([]);
    for concat in [
        "",
        "Partial",
        "partial;",
        "partial ",
        "final",
        "finally;/a",
        "final:/a",
    ] {
        let request = with(create(5), "upload-concat", concat);
        assert_status(&server.handle(request), 400);
        assert_status(&server.handle(post(&[("upload-concat", concat)], b"")), 400);
    }
    assert_eq!(server.uploads().count(), 0);
}

#[test]
fn p2_a_final_is_its_parts_in_their_order() {
    let (mut server, one, two) = two_parts([]);
    let relative = two.strip_prefix("/files/").unwrap();
    let absolute = format!("http://127.0.0.1:1{one}");
    let metadata = "filename d29ybGQ=";
    let request = with(join(&[relative, &absolute]), "upload-metadata", metadata);
    let said = request.headers()["upload-concat"].clone();
    let target = location(&server.handle(request));
    let found = server.handle(head(&target));
    assert_status(&found, 200);
    assert_eq!(header(&found, "upload-offset"), Some("5"));
    assert_eq!(header(&found, "upload-length"), Some("5"));
    assert_eq!(header(&found, "upload-metadata"), Some(metadata));
    assert_eq!(
        header(&found, "upload-concat"),
        Some(said.to_str().unwrap())
    );
    let upload = server.upload(&target).unwrap();
    assert_eq!(upload.content(), b"lohel");
    assert_eq!(upload.concat(), Some(said.to_str().unwrap()));
    assert!(upload.is_final() && !upload.is_partial() && upload.is_complete());
}

#[test]
fn p2_a_final_outlives_its_parts() {
    let (mut server, one, two) = two_parts([]);
    let target = location(&server.handle(join(&[&one, &two])));
    for part in [&one, &two] {
        assert_status(&server.handle(delete(part)), 204);
    }
    assert_eq!(server.upload(&target).unwrap().content(), b"hello");
    assert_status(&server.handle(head(&target)), 200);
    assert_status(&server.handle(delete(&target)), 204);
    assert_status(&server.handle(head(&target)), 404);
}

#[test]
fn p2_a_final_has_neither_length_nor_body() {
    let (mut server, one, two) = two_parts([]);
    let good = join(&[&one, &two]);
    for bad in [
        with(good.clone(), "upload-length", "5"),
        with(good.clone(), "upload-defer-length", "1"),
        with(good.clone(), "upload-metadata", "a a"),
        post(
            &[
                ("upload-concat", &*format!("final;{one}")),
                ("content-type", OCTETS),
            ],
            b"hello",
        ),
    ] {
        assert_status(&server.handle(bad), 400);
    }
    assert_eq!(server.uploads().count(), 2);
}

#[test]
fn p2_a_final_is_made_of_parts_that_are_there() {
    let (mut server, one, two) = two_parts([]);
    let whole = location(&server.handle(create(5)));
    let made = location(&server.handle(join(&[&one, &two])));
    for parts in [
        &[&*one, "/files/none"][..],
        &[&*one, ""],
        &["", &*one],
        &[&*one, &*whole],
        &[&*one, &*made],
        &[""],
    ] {
        assert_status(&server.handle(join(parts)), 400);
    }
    server.handle(delete(&two));
    assert_status(&server.handle(join(&[&one, &two])), 400);
    assert_eq!(server.uploads().count(), 3);
}

#[test]
fn p2_an_expired_part_is_not_there() {
    let mut server = Server::new(Options {
        expires_after: Some(Duration::from_secs(60)),
        ..Options::default()
    });
    server.set_now(1000);
    let kept = part(&mut server, 1, b"x");
    let gone = part(&mut server, 2, b"x");
    let made = server.handle(join(&[&kept, &gone]));
    assert_eq!(header(&made, "upload-expires"), None);
    server.set_now(1060);
    assert_status(&server.handle(join(&[&kept, &gone])), 400);
    assert_status(&server.handle(join(&[&kept])), 201);
    assert_status(&server.handle(head(&location(&made))), 200);
}

#[test]
fn p2_a_final_has_a_limit_too() {
    let mut server = Server::new(Options {
        max_size: Some(4),
        ..Options::default()
    });
    let one = part(&mut server, 3, b"hel");
    let two = part(&mut server, 2, b"");
    assert_status(&server.handle(join(&[&one, &two])), 413);
    assert_status(&server.handle(join(&[&one])), 201);

    let mut server = crate::server([]);
    let one = part(&mut server, u64::MAX, b"");
    assert_status(&server.handle(join(&[&one, &one])), 400);
}

#[test]
fn p3_unfinished_parts_need_an_extension() {
    let mut server = strict();
    let one = part(&mut server, 3, b"hel");
    let two = part(&mut server, 2, b"l");
    let refused = server.handle(join(&[&one, &two]));
    assert_status(&refused, 400);
    assert_eq!(refused.body(), "a part is not finished\n");
    server.handle(patch(&two, 1, b"o"));
    let target = location(&server.handle(join(&[&one, &two])));
    assert_eq!(server.upload(&target).unwrap().content(), b"hello");
}

#[test]
fn p3_an_unfinished_final_is_finished_with_its_last_part() {
    let mut server = server([]);
    let one = part(&mut server, 3, b"hel");
    let deferred = [("upload-concat", "partial"), ("upload-defer-length", "1")];
    let two = location(&server.handle(post(&deferred, b"")));
    let target = location(&server.handle(join(&[&one, &two])));
    let unknown = |server: &mut Server| {
        let found = server.handle(head(&target));
        assert_status(&found, 200);
        assert!(
            header(&found, "upload-concat")
                .unwrap()
                .starts_with("final;")
        );
        ["upload-offset", "upload-length", "upload-defer-length"]
            .iter()
            .all(|name| header(&found, name).is_none())
    };
    assert!(unknown(&mut server));
    server.handle(patch(&two, 0, b"lo"));
    assert!(unknown(&mut server));
    assert!(!server.upload(&target).unwrap().is_complete());
    let last = with(patch(&two, 2, b""), "upload-length", "2");
    assert_status(&server.handle(last), 204);
    let found = server.handle(head(&target));
    assert_eq!(header(&found, "upload-offset"), Some("5"));
    assert_eq!(header(&found, "upload-length"), Some("5"));
    assert_eq!(server.upload(&target).unwrap().content(), b"hello");
}

#[test]
fn p3_the_length_of_an_unfinished_final_is_that_of_its_parts() {
    let mut server = server([]);
    let length = |server: &mut Server, target: &str| {
        let found = server.handle(head(target));
        assert_eq!(header(&found, "upload-offset"), None);
        header(&found, "upload-length").map(str::to_owned)
    };
    let one = part(&mut server, 3, b"hel");
    let deferred = [("upload-concat", "partial"), ("upload-defer-length", "1")];
    let two = location(&server.handle(post(&deferred, b"")));
    let target = location(&server.handle(join(&[&one, &two, &one])));
    assert_eq!(length(&mut server, &target), None);
    let said = |length: &str| with(patch(&two, 0, b""), "upload-length", length);
    assert_status(&server.handle(said("2")), 204);
    assert_eq!(length(&mut server, &target).as_deref(), Some("8"));
    assert_eq!(server.upload(&target).unwrap().length(), None);
    server.quirks_mut().push(Quirk::HeadWithoutLength);
    assert_eq!(length(&mut server, &target), None);
    server.quirks_mut().clear();
    assert_status(&server.handle(delete(&one)), 204);
    assert_eq!(length(&mut server, &target), None);

    // More than 64 bits can say.
    let two = location(&server.handle(post(&deferred, b"")));
    let target = location(&server.handle(join(&[&two, &two])));
    let said = with(patch(&two, 0, b""), "upload-length", &u64::MAX.to_string());
    assert_status(&server.handle(said), 204);
    assert_eq!(length(&mut server, &target), None);
}

#[test]
fn p3_it_takes_no_answer_to_finish_a_final() {
    let deferred = [("upload-concat", "partial"), ("upload-defer-length", "1")];
    let last = |target: &str, body: &[u8]| with(patch(target, 0, body), "upload-length", "5");

    // The last byte arrived, and the answer was not waited for.
    let mut server = server([]);
    let one = location(&server.handle(post(&deferred, b"")));
    let target = location(&server.handle(join(&[&one])));
    let reading = begin(&mut server, last(&one, b"hello"));
    server.body(&reading, b"hello");
    assert_eq!(server.upload(&target).unwrap().content(), b"hello");
    server.abort(reading);

    // No byte was missing, only the length.
    let one = location(&server.handle(post(&deferred, b"")));
    server.handle(patch(&one, 0, b"hello"));
    let target = location(&server.handle(join(&[&one])));
    let length = with(patch(&one, 5, b""), "upload-length", "5");
    let reading = begin(&mut server, length);
    assert!(server.upload(&target).unwrap().is_complete());
    server.abort(reading);

    // All waited for its checksum.
    let one = location(&server.handle(post(&deferred, b"")));
    let target = location(&server.handle(join(&[&one])));
    let checked = with(last(&one, b"hello"), "upload-checksum", SHA1);
    let reading = begin(&mut server, checked);
    server.body(&reading, b"hello");
    assert!(!server.upload(&target).unwrap().is_complete());
    assert_status(&server.finish(reading), 204);
    assert_eq!(server.upload(&target).unwrap().content(), b"hello");
}

#[test]
fn p3_a_part_that_goes_leaves_the_final_unfinished() {
    let mut server = server([]);
    let one = part(&mut server, 3, b"hel");
    let two = part(&mut server, 2, b"");
    let target = location(&server.handle(join(&[&one, &two])));
    assert_status(&server.handle(delete(&one)), 204);
    assert_status(&server.handle(patch(&two, 0, b"lo")), 204);
    let found = server.handle(head(&target));
    assert_status(&found, 200);
    assert_eq!(header(&found, "upload-offset"), None);
    assert!(!server.upload(&target).unwrap().is_complete());
}

#[test]
fn p4_a_final_is_not_appended_to() {
    let mut server = server([]);
    let one = part(&mut server, 3, b"");
    let target = location(&server.handle(join(&[&one])));
    assert_status(&server.handle(patch(&target, 0, b"hel")), 403);
    server.handle(patch(&one, 0, b"hel"));
    assert_status(&server.handle(patch(&target, 3, b"")), 403);
    assert_eq!(server.upload(&target).unwrap().content(), b"hel");
}

#[test]
fn quirk_concatenation_is_refused_at_the_start_or_at_the_end() {
    let mut never = server([Quirk::RefusesConcatenation(501)]);
    let request = with(create(3), "upload-concat", "partial");
    assert_status(&never.handle(request), 501);
    assert_status(&never.handle(join(&["/files/a"])), 501);
    assert_eq!(never.uploads().count(), 0);

    let (mut late, one, two) = two_parts([Quirk::RefusesFinal(403)]);
    assert_status(&late.handle(join(&[&one, &two])), 403);
    assert_eq!(late.uploads().count(), 2);
}

#[test]
fn quirk_parts_are_named_in_one_way() {
    for (quirk, absolute, relative) in [
        (Quirk::AbsoluteParts, 201, 400),
        (Quirk::RelativeParts, 400, 201),
    ] {
        let (mut server, one, two) = two_parts([quirk]);
        let url = |part: &str| format!("https://host{part}");
        let whole = [url(&one), url(&two)];
        let mixed = join(&[&one, &whole[1]]);
        assert_status(&server.handle(mixed), 400);
        assert_status(&server.handle(join(&[&whole[0], &whole[1]])), absolute);
        assert_status(&server.handle(join(&[&one, &two])), relative);
    }
}

#[test]
fn quirk_a_final_is_said_to_be_where_a_part_is() {
    let (mut server, one, two) = two_parts([Quirk::FinalAtPart]);
    let answer = server.handle(join(&[&one, &two]));
    assert_status(&answer, 201);
    assert_eq!(location(&answer), one);
    assert!(server.upload(&one).unwrap().is_partial());
    assert!(server.uploads().any(tus_testkit::Upload::is_final));
}

#[test]
fn quirk_a_part_is_lost() {
    for status in [404, 400] {
        let (mut server, one, two) = two_parts([Quirk::LosesPart(status)]);
        assert_status(&server.handle(join(&[&one, &two])), status);
        assert_status(&server.handle(head(&one)), 404);
        assert_status(&server.handle(head(&two)), 200);
        assert_eq!(server.uploads().count(), 1);
    }
}

#[test]
fn quirk_a_final_is_stale_for_a_while() {
    let mut server = server([Quirk::StaleFinal(2)]);
    let one = part(&mut server, 3, b"");
    let target = location(&server.handle(join(&[&one])));
    let offset = |server: &mut Server, target: &str| {
        let found = server.handle(head(target));
        assert_status(&found, 200);
        header(&found, "upload-offset").map(str::to_owned)
    };
    // Not yet complete: these do not count.
    for _ in 0..3 {
        assert_eq!(offset(&mut server, &target), None);
    }
    server.handle(patch(&one, 0, b"hel"));
    let said: Vec<_> = (0..4).map(|_| offset(&mut server, &target)).collect();
    let three = Some("3".to_owned());
    assert_eq!(said, [None, None, three.clone(), three.clone()]);
    assert_eq!(offset(&mut server, &one), three);
}

#[test]
fn quirk_a_final_is_moved_away_and_its_parts_are_not() {
    let (mut server, one, two) = two_parts([Quirk::MovesCompleted]);
    let target = location(&server.handle(join(&[&one, &two])));
    assert_status(&server.handle(head(&target)), 404);
    assert_status(&server.handle(head(&one)), 200);
    assert_eq!(server.moved()[0].content(), b"hello");
}

#[test]
fn quirk_a_final_is_refused_after_it_was_made() {
    let (mut server, one, two) = two_parts([]);
    server.quirks_mut().push(Quirk::RefusesCompletion(409));
    assert_status(&server.handle(join(&[&one, &two])), 409);
    assert_eq!(server.uploads().last().unwrap().content(), b"hello");
}
