//! Expiration; E in the facts on the protocol.

use std::time::Duration;

use tus_testkit::{Extension, Options, Quirk, Server};

use crate::{
    assert_status, begin, create, create_with, defer, delete, head, header, location, options,
    patch, server,
};

/// 6 November 1994, 08:49:37.
const NOW: u64 = 784_111_777;

/// A server at that time, where uploads are kept for a minute.
fn forgetful(quirks: impl Into<Vec<Quirk>>) -> Server {
    let mut server = Server::new(Options {
        expires_after: Some(Duration::from_secs(60)),
        quirks: quirks.into(),
        ..Options::default()
    });
    server.set_now(NOW);
    server
}

#[test]
fn e1_unfinished_uploads_say_when_they_go_away() {
    let mut server = forgetful([]);
    let made = server.handle(create(5));
    let target = location(&made);
    let in_a_minute = Some("Sun, 06 Nov 1994 08:50:37 GMT");
    assert_eq!(header(&made, "upload-expires"), in_a_minute);
    let with_body = server.handle(create_with(5, b"hel"));
    assert_eq!(header(&with_body, "upload-expires"), in_a_minute);
    let deferred = server.handle(defer());
    assert_eq!(header(&deferred, "upload-expires"), in_a_minute);

    server.set_now(NOW + 10);
    let found = server.handle(head(&target));
    assert_eq!(header(&found, "upload-expires"), in_a_minute);
    let renewed = server.handle(patch(&target, 0, b"hel"));
    let later = Some("Sun, 06 Nov 1994 08:50:47 GMT");
    assert_eq!(header(&renewed, "upload-expires"), later);
    let found = server.handle(head(&target));
    assert_eq!(header(&found, "upload-expires"), later);
    assert_eq!(server.upload(&target).unwrap().expires(), Some(NOW + 70));
}

#[test]
fn e1_what_has_expired_is_gone() {
    for request in [head, delete, |target: &str| patch(target, 0, b"hello")] {
        let mut server = forgetful([]);
        let target = location(&server.handle(create(5)));
        server.set_now(NOW + 59);
        assert_status(&server.handle(head(&target)), 200);
        server.set_now(NOW + 60);
        let response = server.handle(request(&target));
        assert_status(&response, 410);
        assert_eq!(header(&response, "upload-offset"), None);
        assert_eq!(server.upload(&target).unwrap().offset(), 0);
    }
}

#[test]
fn e1_what_is_complete_stays() {
    let mut server = forgetful([]);
    let whole = server.handle(create_with(5, b"hello"));
    assert_eq!(header(&whole, "upload-expires"), None);
    let empty = server.handle(create(0));
    assert_eq!(header(&empty, "upload-expires"), None);
    let target = location(&server.handle(create(5)));
    let last = server.handle(patch(&target, 0, b"hello"));
    assert_eq!(header(&last, "upload-expires"), None);
    server.set_now(u64::MAX);
    for target in [location(&whole), location(&empty), target] {
        let found = server.handle(head(&target));
        assert_status(&found, 200);
        assert_eq!(header(&found, "upload-expires"), None);
    }
}

#[test]
fn e1_a_long_patch_counts_from_its_end() {
    let mut server = forgetful([]);
    let target = location(&server.handle(create(9)));
    let reading = begin(&mut server, patch(&target, 0, b"hello"));
    server.body(&reading, b"hello");
    server.set_now(NOW + 100);
    let response = server.finish(reading);
    assert_eq!(
        header(&response, "upload-expires"),
        Some("Sun, 06 Nov 1994 08:52:17 GMT")
    );
    server.set_now(NOW + 159);
    assert_status(&server.handle(head(&target)), 200);
}

#[test]
fn e1_a_patch_that_breaks_off_counts_from_its_beginning() {
    let mut server = forgetful([]);
    let target = location(&server.handle(create(9)));
    server.set_now(NOW + 30);
    let reading = begin(&mut server, patch(&target, 0, b"hello"));
    server.body(&reading, b"he");
    server.set_now(NOW + 40);
    server.abort(reading);
    assert_eq!(server.upload(&target).unwrap().expires(), Some(NOW + 90));
}

#[test]
fn answers_have_a_date_where_there_is_a_clock() {
    let mut server = server([]);
    assert_eq!(header(&server.handle(create(5)), "date"), None);
    server.set_now(NOW);
    let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
    for request in [options(), create(5), head("/files/none")] {
        let response = server.handle(request);
        assert_eq!(header(&response, "date"), date);
        assert_eq!(header(&response, "upload-expires"), None);
    }
}

#[test]
fn nothing_expires_without_a_clock_or_the_extension() {
    let mut server = forgetful([]);
    let mut timeless = Server::new(Options {
        expires_after: Some(Duration::ZERO),
        ..Options::default()
    });
    let target = location(&timeless.handle(create(5)));
    timeless.set_now(NOW);
    let found = timeless.handle(head(&target));
    assert_status(&found, 200);
    assert_eq!(header(&found, "upload-expires"), None);

    let mut without = Server::new(Options {
        extensions: vec![Extension::Creation],
        expires_after: Some(Duration::ZERO),
        ..Options::default()
    });
    without.set_now(NOW);
    let made = without.handle(create(5));
    assert_eq!(header(&made, "upload-expires"), None);
    assert_status(&without.handle(head(&location(&made))), 200);

    // And what was placed expires like the rest.
    let target = server.place(5, 1);
    server.set_now(NOW + 60);
    assert_status(&server.handle(head(&target)), 410);
}

#[test]
fn quirk_what_has_expired_is_404_or_403() {
    for (quirk, status) in [(Quirk::ExpiredIs404, 404), (Quirk::MissingIs403, 403)] {
        let mut server = forgetful([quirk]);
        let target = location(&server.handle(create(5)));
        server.set_now(NOW + 60);
        assert_status(&server.handle(head(&target)), status);
    }
}

#[test]
fn quirk_dates_have_older_forms() {
    for (quirk, date) in [
        (Quirk::Rfc850Dates, "Sunday, 06-Nov-94 08:50:37 GMT"),
        (Quirk::AsctimeDates, "Sun Nov  6 08:50:37 1994"),
    ] {
        let mut server = forgetful([quirk]);
        let response = server.handle(create(5));
        assert_eq!(header(&response, "upload-expires"), Some(date));
        let now = date.replace("08:50", "08:49");
        assert_eq!(header(&response, "date"), Some(&*now));
    }
}
