//! Each quirk does what it says, and no more.

use http::{Method, Request, Uri};
use tus_testkit::{Begun, Extension, Location, Options, Quirk, Server};

use crate::{
    assert_status, begin, create, defer, delete, head, header, options, patch, post, request,
    server, with, with_upload, without,
};

#[test]
fn statuses() {
    let quirks = [
        Quirk::PatchAnswers200,
        Quirk::CreateAnswers200,
        Quirk::HeadAnswers204,
        Quirk::OptionsAnswers200,
    ];
    let mut server = server(quirks);
    let created = server.handle(create(5));
    assert_status(&created, 200);
    let target = header(&created, "location").unwrap();
    let patched = server.handle(patch(target, 0, b"hello"));
    assert_status(&patched, 200);
    assert_eq!(header(&patched, "upload-offset"), Some("5"));
    assert_status(&server.handle(head(target)), 204);
    assert_status(
        &server.handle(request(Method::OPTIONS, "/files/", &[], b"")),
        200,
    );
}

#[test]
fn headers_left_out() {
    let (mut server, target) =
        with_upload(5, [Quirk::PatchWithoutOffset, Quirk::HeadWithoutLength]);
    let patched = server.handle(patch(&target, 0, b"hello"));
    assert_status(&patched, 204);
    assert_eq!(header(&patched, "upload-offset"), None);
    let found = server.handle(head(&target));
    assert_eq!(
        (
            header(&found, "upload-offset"),
            header(&found, "upload-length")
        ),
        (Some("5"), None)
    );
}

#[test]
fn versions() {
    let version_of = |quirk: Option<Quirk>, there: bool| {
        let (mut server, target) = with_upload(5, Vec::from_iter(quirk));
        let response = server.handle(head(if there { &target } else { "/files/none" }));
        header(&response, "tus-resumable").map(str::to_owned)
    };
    let tus = Some("1.0.0".to_owned());
    assert_eq!(
        [version_of(None, true), version_of(None, false)],
        [tus.clone(), tus.clone()]
    );
    let errors = Some(Quirk::ErrorsWithoutVersion);
    assert_eq!(
        [version_of(errors.clone(), true), version_of(errors, false)],
        [tus, None]
    );
    let never = Some(Quirk::NoVersion);
    assert_eq!(
        [version_of(never.clone(), true), version_of(never, false)],
        [None, None]
    );
    assert_eq!(
        version_of(Some(Quirk::OtherVersion("0.2.2".into())), true).as_deref(),
        Some("0.2.2")
    );
}

#[test]
fn locations_are_all_found_where_they_point_to() {
    let forms = [
        (Location::PathAbsolute, "/files/"),
        (Location::Relative, ""),
        (Location::Absolute, "https://host:8443/files/"),
        (Location::ProtocolRelative, "//host:8443/files/"),
        (Location::Http, "http://host:8443/files/"),
        (
            Location::Template("http://{host}/{id}/x,y".into()),
            "http://host/",
        ),
        (Location::Template("?upload={id}".into()), "?upload="),
        (
            Location::Template("http:///files/{id}".into()),
            "http:///files/",
        ),
        (Location::Template("../a%20b/{id}".into()), "../a%20b/"),
    ];
    for (form, start) in forms {
        let mut server = server([Quirk::Location(form.clone())]);
        let mut request = create(5);
        *request.uri_mut() = Uri::from_static("https://host:8443/files/");
        let response = server.handle(request);
        let location = header(&response, "location").unwrap();
        assert!(location.starts_with(start), "{form:?} gave {location}");
        let target = server.uploads().next().unwrap().target().to_owned();
        assert_status(&server.handle(head(&target)), 200);
        assert_status(&server.handle(head("/files/none")), 404);
    }
    let response = server([Quirk::Location(Location::Missing)]).handle(create(5));
    assert_status(&response, 201);
    assert_eq!(header(&response, "location"), None);
}

#[test]
fn creations_can_be_redirected() {
    let mut server = server([
        Quirk::RedirectsCreation(308, "/other/place/".into()),
        Quirk::Location(Location::Relative),
    ]);
    let response = server.handle(create(5));
    assert_status(&response, 308);
    let there = header(&response, "location").unwrap();
    assert_eq!(there, "/other/place/");
    assert_eq!(server.uploads().count(), 0);
    let mut again = create(5);
    *again.uri_mut() = there.parse().unwrap();
    let response = server.handle(again);
    assert_status(&response, 201);
    let name = header(&response, "location").unwrap();
    assert_eq!(
        server.uploads().next().unwrap().target(),
        format!("/other/place/{name}")
    );
}

#[test]
fn only_a_part_is_taken() {
    let (mut server, target) = with_upload(10, [Quirk::TakesOnly(4)]);
    for (from, to) in [(0, 4), (4, 8), (8, 10)] {
        let response = server.handle(patch(
            &target,
            from,
            &b"0123456789"[usize::try_from(from).unwrap()..],
        ));
        assert_status(&response, 204);
        assert_eq!(header(&response, "upload-offset"), Some(&*to.to_string()));
        let record = server.log().last().unwrap();
        assert_eq!((record.body, record.kept.clone()), (10 - from, from..to));
    }
    assert_eq!(server.upload(&target).unwrap().content(), b"0123456789");

    let (mut server, target) = with_upload(10, [Quirk::TakesOnly(4)]);
    let Begun::Reading(reading) = server.begin(&patch(&target, 0, b"0123456789").into_parts().0)
    else {
        panic!("the body was not wanted");
    };
    for piece in [&b"012"[..], b"345", b"6789"] {
        assert!(server.body(&reading, piece));
    }
    assert_eq!(header(&server.finish(reading), "upload-offset"), Some("4"));
    assert_eq!(server.upload(&target).unwrap().content(), b"0123");

    let (mut server, target) = with_upload(10, [Quirk::TakesOnly(0)]);
    let response = server.handle(patch(&target, 0, b"0123456789"));
    assert_status(&response, 204);
    assert_eq!(header(&response, "upload-offset"), Some("0"));
}

#[test]
fn numbers_can_be_garbage() {
    for garbage in ["3abc", "-1", "18446744073709551616", "11"] {
        let quirks = [
            Quirk::HeadOffset(garbage.into()),
            Quirk::PatchOffset(garbage.into()),
            Quirk::HeadLength(garbage.into()),
        ];
        let (mut server, target) = with_upload(10, quirks);
        assert_eq!(
            header(&server.handle(patch(&target, 0, b"012")), "upload-offset"),
            Some(garbage)
        );
        let response = server.handle(head(&target));
        assert_eq!(
            [
                header(&response, "upload-offset"),
                header(&response, "upload-length")
            ],
            [Some(garbage); 2]
        );
        assert_eq!(server.upload(&target).unwrap().offset(), 3);
    }
}

#[test]
fn a_login_page_answers_instead() {
    let (mut server, target) = with_upload(10, [Quirk::LoginPage]);
    let response = server.handle(head(&target));
    assert_status(&response, 200);
    assert_eq!(
        header(&response, "content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(
        [
            header(&response, "upload-offset"),
            header(&response, "tus-resumable")
        ],
        [None; 2]
    );
    assert_status(&server.handle(patch(&target, 0, b"0123456789")), 204);
}

#[test]
fn what_is_not_there_is_410_or_403() {
    let (mut server, target) = with_upload(10, [Quirk::DeletedIs410]);
    assert_status(&server.handle(delete(&target)), 204);
    assert_status(&server.handle(head(&target)), 410);
    assert_status(&server.handle(head("/files/none")), 404);
    *server.quirks_mut() = vec![Quirk::MissingIs403];
    assert_status(&server.handle(head(&target)), 403);
}

#[test]
fn bodies_must_be_of_a_size() {
    let (mut server, target) = with_upload(
        10,
        [Quirk::MaxBody(4), Quirk::MinBody(3), Quirk::BodyMultiple(3)],
    );
    let response = server.handle(patch(&target, 0, b"01234"));
    assert_status(&response, 413);
    assert_eq!(header(&response, "tus-resumable"), None);
    assert_status(&server.handle(patch(&target, 0, b"01")), 400);
    assert_status(&server.handle(patch(&target, 0, b"0123")), 400);
    for from in [0, 3, 6] {
        assert_status(&server.handle(patch(&target, from, b"abc")), 204);
    }
    assert_status(&server.handle(patch(&target, 9, b"d")), 204);

    // Of two of one kind the first counts.
    let least = [Quirk::MinBody(2), Quirk::MinBody(5)];
    let units = [Quirk::BodyMultiple(2), Quirk::BodyMultiple(5)];
    for quirks in [least, units] {
        let (mut server, target) = with_upload(10, quirks);
        assert_status(&server.handle(patch(&target, 0, b"0")), 400);
        assert_status(&server.handle(patch(&target, 0, b"01")), 204);
    }
}

#[test]
fn a_limit_of_bodies_is_in_front_of_the_server() {
    let mut server = Server::new(Options {
        extensions: vec![Extension::Creation],
        quirks: vec![Quirk::MaxBody(4)],
        ..Options::default()
    });
    let target = server.place(10, 0);
    let reading = begin(&mut server, patch(&target, 0, b"0123"));
    assert!(server.body(&reading, b"01"));
    for request in [
        post(&[("upload-length", "10")], b"01234"),
        patch(&target, 2, b"23456"),
        patch(&target, 9, b"23456"),
        patch("/files/none", 0, b"01234"),
        without(patch(&target, 2, b"23456"), "tus-resumable"),
    ] {
        let response = server.handle(request);
        assert_status(&response, 413);
        assert_eq!(header(&response, "tus-resumable"), None);
    }
    assert!(server.body(&reading, b"23"), "it is still writing");
    assert_status(&server.finish(reading), 204);
    assert_eq!(server.uploads().count(), 1);
}

#[test]
fn what_is_complete_is_forbidden() {
    let (mut server, target) = with_upload(2, [Quirk::CompleteIs403]);
    assert_status(&server.handle(patch(&target, 0, b"ab")), 204);
    assert_status(&server.handle(patch(&target, 2, b"")), 403);
}

#[test]
fn a_lock_can_be_held_against_newcomers() {
    let (mut server, target) = with_upload(10, [Quirk::LockedIs(423)]);
    let Begun::Reading(reading) = server.begin(&patch(&target, 0, b"0123456789").into_parts().0)
    else {
        panic!("the body was not wanted");
    };
    server.body(&reading, b"012");
    assert_eq!(
        header(&server.handle(head(&target)), "upload-offset"),
        Some("3")
    );
    assert_status(&server.handle(patch(&target, 3, b"3456789")), 423);
    assert_status(&server.handle(delete(&target)), 423);
    server.body(&reading, b"3456789");
    assert_status(&server.finish(reading), 204);
    assert_eq!(server.upload(&target).unwrap().content(), b"0123456789");
}

#[test]
fn a_lock_has_the_status_that_it_is_given() {
    for status in [409, 403] {
        let (mut server, target) = with_upload(10, [Quirk::LockedIs(status)]);
        let head = patch(&target, 0, b"0123456789").into_parts().0;
        let Begun::Reading(reading) = server.begin(&head) else {
            panic!("the body was not wanted");
        };
        assert_status(&server.handle(patch(&target, 0, b"0123456789")), status);
        server.abort(reading);
        assert_status(&server.handle(patch(&target, 0, b"0123456789")), 204);
    }
}

#[test]
fn credentials_are_asked_for() {
    let mut server = server([Quirk::Authorization("Bearer good".into())]);
    assert_status(&server.handle(create(5)), 401);
    assert_status(
        &server.handle(with(create(5), "authorization", "Bearer bad")),
        401,
    );
    assert_status(
        &server.handle(with(create(5), "authorization", "Bearer good")),
        201,
    );
}

#[test]
fn methods_can_be_closed_and_overrides_ignored() {
    let as_post = |mut request: Request<_>| {
        *request.method_mut() = Method::POST;
        with(request, "x-http-method-override", "PATCH")
    };
    let (mut server, target) = with_upload(5, [Quirk::PostOnly]);
    assert_status(&server.handle(patch(&target, 0, b"hello")), 405);
    assert_status(&server.handle(delete(&target)), 405);
    assert_status(&server.handle(as_post(patch(&target, 0, b"hello"))), 204);

    let (mut server, target) = with_upload(5, [Quirk::IgnoresOverride]);
    assert_status(&server.handle(as_post(patch(&target, 0, b"hello"))), 405);
}

#[test]
fn lists_and_lines_can_be_written_otherwise() {
    let mut server = server([Quirk::SpacedLists, Quirk::RepeatedValues]);
    let options = server.handle(request(Method::OPTIONS, "/files/", &[], b""));
    let extensions = header(&options, "tus-extension").unwrap();
    assert!(extensions.starts_with("creation, creation-with-upload, "));
    assert_eq!(
        header(&options, "tus-checksum-algorithm"),
        Some("sha1, sha256, sha512, md5, crc32")
    );
    let created = server.handle(with(create(5), "upload-metadata", "a YQ==,b"));
    let target = header(&created, "location").unwrap();
    let found = server.handle(head(target));
    assert_eq!(header(&found, "upload-metadata"), Some("a YQ==, b"));
    assert_eq!(header(&found, "upload-offset"), Some("0, 0"));

    *server.quirks_mut() = vec![Quirk::RepeatedLines];
    let found = server.handle(head(target));
    for (name, times) in [
        ("upload-offset", 2),
        ("tus-resumable", 2),
        ("cache-control", 1),
    ] {
        assert_eq!(
            found.headers().get_all(name).iter().count(),
            times,
            "{name}"
        );
    }
}

#[test]
fn real_servers_are_known_by_their_habits() {
    // What OPTIONS is answered with, whether parts can be made, and what a PATCH gets that repeats the
    // length, and one to an upload of no length yet.
    for (like, habits) in [
        (Options::like_tusd(), [200, 201, 400, 204]),
        (Options::like_tus_node(), [204, 400, 400, 204]),
        (Options::like_resumable_upload(), [204, 201, 204, 400]),
        (Options::default(), [204, 201, 204, 204]),
    ] {
        let mut server = Server::new(like);
        let whole = server.place(5, 0);
        let deferred = server.handle(defer());
        let deferred = header(&deferred, "location").unwrap();
        let answers = [
            options(),
            with(create(5), "upload-concat", "partial"),
            with(patch(&whole, 0, b"hel"), "upload-length", "5"),
            patch(deferred, 0, b"hel"),
        ]
        .map(|request| server.handle(request).status().as_u16());
        assert_eq!(answers, habits);
    }
}
