//! Creation with a body, and without a length; U and N6 in the facts on the protocol.

use tus_testkit::{Extension, Options, Quirk, Server};

use crate::{
    OCTETS, assert_status, begin, create, create_with, defer, head, header, location, options,
    patch, post, server, with, without,
};

fn limited(max_size: u64, quirks: impl Into<Vec<Quirk>>) -> Server {
    Server::new(Options {
        max_size: Some(max_size),
        quirks: quirks.into(),
        ..Options::default()
    })
}

#[test]
fn u1_a_creation_may_bring_the_first_bytes() {
    for (body, complete) in [(&b"hel"[..], false), (b"hello", true)] {
        let mut server = server([]);
        let response = server.handle(create_with(5, body));
        let target = location(&response);
        let offset = body.len().to_string();
        assert_eq!(header(&response, "upload-offset"), Some(&*offset));
        let upload = server.upload(&target).unwrap();
        assert_eq!((upload.content(), upload.is_complete()), (body, complete));
        assert_eq!(server.log()[0].kept, 0..body.len() as u64);
    }
    let mut server = server([]);
    let response = server.handle(create(5));
    assert_eq!(header(&response, "upload-offset"), None);
}

#[test]
fn u1_an_empty_body_that_has_the_type_of_one_is_answered_with_the_offset() {
    let offset = |mut server: Server, media_type| {
        let response = server.handle(with(create(5), "content-type", media_type));
        assert_status(&response, 201);
        header(&response, "upload-offset").map(str::to_owned)
    };
    assert_eq!(offset(server([]), OCTETS).as_deref(), Some("0"));
    assert_eq!(offset(server([]), "text/plain"), None);
    let silent = server([Quirk::CreateWithoutOffset]);
    assert_eq!(offset(silent, OCTETS), None);
    let bodiless = Server::new(Options {
        extensions: vec![Extension::Creation],
        ..Options::default()
    });
    assert_eq!(offset(bodiless, OCTETS), None);
}

#[test]
fn u1_a_body_of_another_media_type_or_beyond_the_length_creates_nothing() {
    let mut server = limited(8, []);
    let request = create_with(5, b"hello");
    for (request, status) in [
        (without(request.clone(), "content-type"), 415),
        (with(request.clone(), "content-type", "text/plain"), 415),
        (create_with(5, b"hello!"), 413),
        (create_with(9, b"hello"), 413),
        (with(create_with(5, b"hello"), "upload-length", "x"), 400),
    ] {
        assert_status(&server.handle(request), status);
    }
    let deferred = post(
        &[("upload-defer-length", "1"), ("content-type", OCTETS)],
        b"012345678",
    );
    assert_status(&server.handle(deferred), 413);
    assert_eq!(server.uploads().count(), 0);
    // Without a body there is no type to be wrong.
    assert_status(
        &server.handle(with(create(5), "content-type", "text/plain")),
        201,
    );
}

#[test]
fn u1_a_body_that_breaks_off_leaves_an_upload_with_what_arrived() {
    let mut server = server([]);
    let reading = begin(&mut server, create_with(5, b"hello"));
    assert_eq!(server.locks(), 1);
    server.body(&reading, b"he");
    server.body(&reading, b"l");
    server.abort(reading);
    let upload = server.uploads().next().unwrap();
    assert_eq!(upload.content(), b"hel");
    assert_eq!(server.log()[0].kept, 0..3);
    let target = upload.target().to_owned();
    assert_status(&server.handle(patch(&target, 3, b"lo")), 204);
}

#[test]
fn u1_without_the_extension_the_body_is_thrown_away() {
    let mut server = Server::new(Options {
        extensions: vec![Extension::Creation],
        ..Options::default()
    });
    let response = server.handle(without(create_with(5, b"hello"), "content-type"));
    let target = location(&response);
    assert_eq!(header(&response, "upload-offset"), None);
    assert_eq!(server.upload(&target).unwrap().offset(), 0);
    assert_eq!((server.log()[0].body, server.log()[0].kept.end), (5, 0));
}

#[test]
fn n6_a_length_is_there_or_deferred() {
    let mut server = server([]);
    for headers in [
        &[][..],
        &[("upload-defer-length", "0")],
        &[("upload-defer-length", "")],
        &[("upload-defer-length", "1"), ("upload-length", "5")],
        &[("upload-defer-length", "1"), ("upload-defer-length", "1")],
    ] {
        assert_status(&server.handle(post(headers, b"")), 400);
    }
    assert_eq!(server.uploads().count(), 0);
    let target = location(&server.handle(defer()));
    let found = server.handle(head(&target));
    assert_eq!(header(&found, "upload-defer-length"), Some("1"));
    assert_eq!(header(&found, "upload-length"), None);
    assert_eq!(header(&found, "upload-offset"), Some("0"));
    let upload = server.upload(&target).unwrap();
    assert_eq!((upload.length(), upload.is_complete()), (None, false));
}

#[test]
fn n6_the_length_comes_with_a_patch_and_stays() {
    let mut server = server([]);
    let target = location(&server.handle(defer()));
    assert_status(&server.handle(patch(&target, 0, b"hel")), 204);
    let said = |request, length: &str| with(request, "upload-length", length);
    for length in ["2", "-1", "x"] {
        assert_status(&server.handle(said(patch(&target, 3, b""), length)), 400);
    }
    assert_status(&server.handle(said(patch(&target, 3, b"lo"), "4")), 413);
    assert_eq!(server.upload(&target).unwrap().length(), None);
    assert_status(&server.handle(said(patch(&target, 3, b"l"), "5")), 204);
    let found = server.handle(head(&target));
    assert_eq!(header(&found, "upload-defer-length"), None);
    assert_eq!(header(&found, "upload-length"), Some("5"));
    assert_status(&server.handle(said(patch(&target, 4, b"o"), "6")), 400);
    assert_status(&server.handle(said(patch(&target, 4, b""), "4")), 400);
    assert_status(&server.handle(said(patch(&target, 4, b"o!"), "6")), 400);
    assert_status(&server.handle(patch(&target, 4, b"o!")), 413);
    assert_status(&server.handle(said(patch(&target, 4, b"o"), "5")), 204);
    assert!(server.upload(&target).unwrap().is_complete());
}

#[test]
fn n6_an_empty_patch_with_the_length_completes() {
    let mut server = server([]);
    let target = location(&server.handle(post(
        &[("upload-defer-length", "1"), ("content-type", OCTETS)],
        b"hello",
    )));
    assert!(!server.upload(&target).unwrap().is_complete());
    let last = with(patch(&target, 5, b""), "upload-length", "5");
    assert_status(&server.handle(last), 204);
    assert!(server.upload(&target).unwrap().is_complete());
}

#[test]
fn n6_the_length_is_known_even_if_the_body_breaks_off() {
    let mut server = server([]);
    let target = location(&server.handle(defer()));
    let last = with(patch(&target, 0, b"hello"), "upload-length", "5");
    let reading = begin(&mut server, last);
    server.body(&reading, b"he");
    server.abort(reading);
    let upload = server.upload(&target).unwrap();
    assert_eq!((upload.offset(), upload.length()), (2, Some(5)));
}

#[test]
fn n6_a_deferred_length_has_a_limit_too() {
    let mut server = limited(4, []);
    let target = location(&server.handle(defer()));
    assert_status(&server.handle(patch(&target, 0, b"hello")), 413);
    assert_status(&server.handle(patch(&target, 0, b"hel")), 204);
    assert_status(&server.handle(patch(&target, 3, b"lo")), 413);
    let long = with(patch(&target, 3, b"l"), "upload-length", "5");
    assert_status(&server.handle(long), 413);
    assert_eq!(server.upload(&target).unwrap().length(), None);
    let last = with(patch(&target, 3, b"l"), "upload-length", "4");
    assert_status(&server.handle(last), 204);
}

#[test]
fn n6_another_writer_goes_no_further_than_the_limit() {
    let mut server = limited(4, []);
    let target = location(&server.handle(defer()));
    assert_eq!(server.write(&target, b"hello"), 4);
    assert_eq!(server.write(&target, b"o"), 0);
    assert_status(&server.handle(patch(&target, 4, b"o")), 413);
    assert_status(&server.handle(patch(&target, 4, b"")), 204);
    assert_eq!(server.upload(&target).unwrap().content(), b"hell");
}

#[test]
fn quirk_the_body_of_a_creation_is_ignored() {
    let ignored = |quirks: &[Quirk]| {
        let mut server = server(quirks);
        let response = server.handle(create_with(5, b"hello"));
        let target = location(&response);
        assert_eq!(server.upload(&target).unwrap().offset(), 0);
        assert_eq!(server.log()[0].body, 5);
        header(&response, "upload-offset").map(str::to_owned)
    };
    let both = [Quirk::IgnoresCreationBody, Quirk::CreateWithoutOffset];
    assert_eq!(ignored(&both[..1]).as_deref(), Some("0"));
    assert_eq!(ignored(&both), None);
}

#[test]
fn quirk_the_offset_of_a_creation_is_left_out() {
    let mut server = server([Quirk::CreateWithoutOffset]);
    let response = server.handle(create_with(5, b"hel"));
    let target = location(&response);
    assert_eq!(header(&response, "upload-offset"), None);
    assert_eq!(server.upload(&target).unwrap().content(), b"hel");
}

#[test]
fn quirk_a_creation_with_a_body_is_refused() {
    let mut server = server([Quirk::RefusesCreationBody(501)]);
    let announced = server.handle(options());
    assert!(
        header(&announced, "tus-extension")
            .unwrap()
            .contains("creation-with-upload")
    );
    assert_status(&server.handle(create_with(5, b"hello")), 501);
    assert_eq!(server.uploads().count(), 0);
    assert_status(&server.handle(create(5)), 201);
}

#[test]
fn quirk_the_body_of_a_creation_is_taken_in_part_or_too_long() {
    let mut few = server([Quirk::TakesOnly(2)]);
    let response = few.handle(create_with(5, b"hello"));
    let target = location(&response);
    assert_eq!(header(&response, "upload-offset"), Some("2"));
    assert_eq!(few.upload(&target).unwrap().content(), b"he");

    let mut small = server([Quirk::MaxBody(2)]);
    let response = small.handle(create_with(5, b"hel"));
    assert_status(&response, 413);
    assert_eq!(header(&response, "tus-resumable"), None);
    assert_eq!(small.uploads().count(), 0);
    assert_status(&small.handle(create_with(5, b"he")), 201);
}

#[test]
fn quirk_lengths_that_come_later() {
    let mut silent = server([Quirk::HeadWithoutDeferLength]);
    let target = location(&silent.handle(defer()));
    let found = silent.handle(head(&target));
    assert_eq!(header(&found, "upload-defer-length"), None);
    assert_eq!(header(&found, "upload-length"), None);

    let said = |offset, target: &str| with(patch(target, offset, b"he"), "upload-length", "5");
    let mut once = server([Quirk::LengthOnce]);
    let target = location(&once.handle(defer()));
    assert_status(&once.handle(said(0, &target)), 204);
    assert_status(&once.handle(said(2, &target)), 400);
    assert_status(&once.handle(patch(&target, 2, b"llo")), 204);
    let known = location(&once.handle(create(5)));
    assert_status(&once.handle(said(0, &known)), 400);

    let mut needs = server([Quirk::DeferredNeedsLength]);
    let target = location(&needs.handle(defer()));
    assert_status(&needs.handle(patch(&target, 0, b"he")), 400);
    assert_eq!(needs.upload(&target).unwrap().offset(), 0);
    assert_status(&needs.handle(said(0, &target)), 204);
    assert_status(&needs.handle(patch(&target, 2, b"llo")), 204);
}

#[test]
fn quirk_the_completion_is_refused_after_all_was_kept() {
    let mut server = server([Quirk::RefusesCompletion(422)]);
    let target = location(&server.handle(create_with(5, b"hel")));
    assert_status(&server.handle(patch(&target, 3, b"l")), 204);
    assert_status(&server.handle(patch(&target, 4, b"o")), 422);
    assert!(server.upload(&target).unwrap().is_complete());
    let found = server.handle(head(&target));
    assert_eq!(header(&found, "upload-offset"), Some("5"));
    // This one completes nothing.
    assert_status(&server.handle(patch(&target, 5, b"")), 204);

    for request in [create(0), create_with(5, b"hello")] {
        assert_status(&server.handle(request), 422);
        assert!(server.uploads().last().unwrap().is_complete());
    }
    let target = location(&server.handle(defer()));
    let last = with(patch(&target, 0, b""), "upload-length", "0");
    assert_status(&server.handle(last), 422);

    // Nothing of a body is kept here, and nothing is missing.
    let mut server = Server::new(Options {
        extensions: vec![Extension::Creation],
        quirks: vec![Quirk::RefusesCompletion(422)],
        ..Options::default()
    });
    assert_status(&server.handle(create_with(0, b"hello")), 422);
    assert_eq!(server.log()[0].body, 5);
    assert!(server.uploads().next().unwrap().is_complete());
}

#[test]
fn quirk_what_is_complete_is_moved_away() {
    let mut server = server([Quirk::MovesCompleted]);
    let target = location(&server.handle(create_with(5, b"hel")));
    assert_status(&server.handle(head(&target)), 200);
    let response = server.handle(patch(&target, 3, b"lo"));
    assert_status(&response, 204);
    assert_eq!(header(&response, "upload-offset"), Some("5"));
    assert_status(&server.handle(head(&target)), 404);
    assert!(server.upload(&target).is_none());
    let moved = &server.moved()[0];
    assert_eq!((moved.target(), moved.content()), (&*target, &b"hello"[..]));

    assert_status(&server.handle(create(0)), 201);
    assert_status(&server.handle(create_with(2, b"ab")), 201);
    assert_eq!((server.moved().len(), server.uploads().count()), (3, 0));
    server.quirks_mut().push(Quirk::DeletedIs410);
    assert_status(&server.handle(head(&target)), 410);
}

#[test]
fn quirk_options_are_refused_or_silent() {
    for status in [404, 405] {
        let response = server([Quirk::NoOptions(status)]).handle(options());
        assert_status(&response, status);
        assert_eq!(header(&response, "tus-version"), None);
        assert_eq!(header(&response, "tus-extension"), None);
    }
    let response = limited(9, [Quirk::SilentOptions]).handle(options());
    assert_status(&response, 204);
    assert_eq!(header(&response, "tus-version"), Some("1.0.0"));
    assert_eq!(header(&response, "tus-max-size"), Some("9"));
    assert_eq!(header(&response, "tus-extension"), None);
    assert_eq!(header(&response, "tus-checksum-algorithm"), None);
}
