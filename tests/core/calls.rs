//! The machines of one request: Discover, Create, Terminate, Concatenate. `Inspect` is in
//! `probe.rs`.

use std::time::Duration;

use tus_proto::{
    Algorithm, Authorize, Cancel, Capabilities, Concatenate, Config, Create, Deadline, Discover,
    Error, Event, Extension, FailureKind, Hint, Limit, Machine, Misuse, Op, Refusal, Terminate,
    Violation,
};

use crate::scenario::{ENDPOINT, Scenario, URL, config, server};

const PARTS: [&str; 2] = ["http://example.org/files/1", "http://example.org/files/2"];

fn discover() -> Scenario<Discover> {
    Scenario::new(Discover::new(ENDPOINT, &config(|_| ())).unwrap())
}

fn create(length: impl Into<Option<u64>>) -> Scenario<Create> {
    Scenario::new(Create::new(ENDPOINT, length, &config(|_| ())).unwrap())
}

fn terminate() -> Scenario<Terminate> {
    Scenario::new(Terminate::new(URL, &config(|_| ())).unwrap())
}

fn concatenate() -> Scenario<Concatenate> {
    Scenario::new(Concatenate::new(ENDPOINT, &PARTS, &config(|_| ())).unwrap())
}

fn orphans<M: Machine>(told: &Scenario<M>) -> usize {
    told.count(|event| *event == Event::Orphaned)
}

/// The answers that any of these asks again after: DESIGN §4, the table.
const TRANSIENT: [u16; 11] = [408, 423, 425, 429, 499, 500, 502, 503, 504, 520, 599];

#[track_caller]
fn rejected(error: &Error, expected: Option<Hint>, what: impl std::fmt::Debug) {
    assert!(
        matches!(error, Error::Rejected { hint, .. } if *hint == expected),
        "{what:?}: {error:?}"
    );
    assert!(!error.resumable(), "there is nothing to resume");
}

// C1, C8; §4, 32.
#[test]
fn a_server_says_what_it_offers() {
    let told = discover()
        .asks("OPTIONS", ENDPOINT)
        .without("tus-resumable");
    let offered: Capabilities = told
        .answers(
            204,
            &[
                ("tus-resumable", "1.0.0"),
                ("tus-version", "1.0.0,0.2.2"),
                ("tus-extension", "creation, checksum"),
                ("tus-max-size", "1000"),
                ("tus-checksum-algorithm", "sha1, md5"),
            ],
        )
        .succeeds()
        .unwrap();
    assert_eq!(offered.versions, ["1.0.0", "0.2.2"]);
    assert_eq!(offered.offers(Extension::Checksum), Some(true));
    assert_eq!(offered.offers(Extension::Termination), Some(false));
    assert_eq!(offered.max_size, Some(1000));
    assert_eq!(
        offered.checksum_algorithms,
        [Algorithm::SHA1, Algorithm::MD5]
    );
}

#[test]
fn who_does_not_say_is_not_known() {
    for status in [404, 405, 501, 400, 410] {
        assert_eq!(discover().answers(status, &[]).succeeds(), None, "{status}");
    }
    // A login page, a cache, a proxy that answers OPTIONS for itself.
    let told = discover().answers_with(200, &[("content-type", "text/html")], "<title>Log in");
    assert_eq!(told.succeeds(), None);
    let told = discover().answers(204, &[("allow", "GET, POST, OPTIONS")]);
    assert_eq!(told.succeeds(), None);
}

#[test]
fn a_question_for_what_is_offered_is_refused_for_good() {
    rejected(
        &discover().answers(401, &[]).error(),
        Some(Hint::Credentials),
        401,
    );
    rejected(
        &discover().answers(403, &[]).error(),
        Some(Hint::Permission),
        403,
    );
    rejected(
        &discover().answers(412, &[]).error(),
        Some(Hint::Version),
        412,
    );
    let error = discover()
        .answers(204, &[("tus-resumable", "0.2.2")])
        .error();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    let error = discover().fails(FailureKind::Hopeless).error();
    assert!(matches!(error, Error::Hopeless { .. }), "{error:?}");
}

#[test]
fn a_question_for_what_is_offered_is_repeated() {
    for status in TRANSIENT {
        let told = discover().answers(status, &[]).waits();
        told.asks("OPTIONS", ENDPOINT).answers(404, &[]).succeeds();
    }
    discover().loses().asks("OPTIONS", ENDPOINT);
    discover().times_out().asks("OPTIONS", ENDPOINT);
    discover()
        .fails(FailureKind::NotSent)
        .waits()
        .asks("OPTIONS", ENDPOINT);
    let mut told = discover();
    for _ in 0..10 {
        told = told.answers(503, &[]).waits();
    }
    let error = told.answers(503, &[]).error();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::Attempts,
                ..
            }
        ),
        "{error:?}"
    );
    let told = discover().answers(308, &[("location", "/new/")]);
    told.asks("OPTIONS", "http://example.org/new/")
        .without("tus-resumable");
}

#[test]
fn before_an_upload_there_is_one_attempt_of_five_seconds() {
    let before = || Scenario::new(Discover::before_upload(ENDPOINT, &config(|_| ())).unwrap());
    for told in [
        before().answers(503, &[]),
        before().loses(),
        before().fails(FailureKind::NotSent),
        before().answers(429, &[("retry-after", "1")]),
    ] {
        let error = told.error();
        assert!(matches!(error, Error::Exhausted { .. }), "{error:?}");
    }
    let told = before();
    assert_eq!(told.wait(), Duration::from_secs(5));
    let (error, told) = told.times_out().ends();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::Deadline,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(told.stopped.len(), 1);
    let offered = before().answers(204, &[("tus-extension", "creation")]);
    assert!(offered.succeeds().is_some());
    // Nobody is asked for credentials, which would take longer than that.
    let opted = config(|config| config.authorize = Authorize::OnUnauthorized);
    let told = Scenario::new(Discover::before_upload(ENDPOINT, &opted).unwrap());
    let error = told.answers(401, &[]).error();
    rejected(&error, Some(Hint::Credentials), "before an upload");
    let told = Scenario::new(Discover::new(ENDPOINT, &opted).unwrap());
    assert!(told.answers(401, &[]).duty.is_some());
}

// "Only where its answer can change what is sent."
#[test]
fn it_pays_to_ask_only_where_the_answer_matters() {
    let pays = |op, length: Option<u64>, change: &dyn Fn(&mut Config)| {
        Discover::pays(&config(|config| change(config)), op, length)
    };
    let plain = |_: &mut Config| ();
    let mib = 1 << 20;
    for (length, expected) in [
        (Some(0), false),
        (Some(1), true),
        (Some(mib), true),
        (Some(mib + 1), false),
        (None, true),
    ] {
        assert_eq!(pays(Op::Create, length, &plain), expected, "{length:?}");
    }
    assert!(!pays(Op::Append, Some(9), &plain));
    assert!(!pays(Op::Append, None, &plain));
    assert!(!pays(Op::Inspect, None, &plain));
    assert!(!pays(Op::Probe, None, &plain));
    assert!(pays(Op::Terminate, None, &plain));
    assert!(pays(Op::Concatenate, Some(9), &plain));
    let checked = |config: &mut Config| config.checksums = vec![Algorithm::SHA1];
    assert!(pays(Op::Create, Some(mib + 1), &checked));
    assert!(pays(Op::Append, Some(9), &checked));
    let partial = |config: &mut Config| config.partial = true;
    assert!(pays(Op::Create, Some(mib + 1), &partial));
    let bodiless = |config: &mut Config| config.creation_body = 0;
    assert!(!pays(Op::Create, Some(9), &bodiless));
    let stream = |config: &mut Config| config.stream = true;
    assert!(!pays(Op::Create, Some(9), &stream));
    let small = |config: &mut Config| config.request_size = Some(8);
    assert!(!pays(Op::Create, Some(9), &small));
    assert!(pays(Op::Create, Some(8), &small));
    let known = |config: &mut Config| config.server = Some(Capabilities::default());
    for op in [Op::Create, Op::Append, Op::Terminate, Op::Concatenate] {
        assert!(!pays(op, None, &known), "{op:?}");
    }
}

// N1, N2, N6, P1; R2.
#[test]
fn a_creation_of_its_own_has_no_bytes() {
    let told = create(9)
        .asks("POST", ENDPOINT)
        .with("upload-length", "9")
        .with("content-length", "0")
        .without("upload-defer-length")
        .without("upload-concat")
        .without("content-type");
    assert!(told.request().body().is_empty());
    let told = told.answers(201, &[("location", "a")]);
    assert_eq!(told.succeeds().expose(), URL);

    create(None)
        .with("upload-defer-length", "1")
        .without("upload-length");
    let part = config(|config| {
        config.partial = true;
        config.metadata.insert("filename", "a b").unwrap();
        // It has none, whatever the server offers.
        config.server = Some(server(&[
            Extension::CreationWithUpload,
            Extension::Concatenation,
        ]));
        config.expect_continue = true;
    });
    let told = Scenario::new(Create::new(ENDPOINT, 9, &part).unwrap());
    let told = told
        .with("upload-concat", "partial")
        .with("upload-metadata", "filename YSBi")
        .without("expect");
    assert!(told.request().body().is_empty());
}

#[test]
fn a_creation_of_its_own_is_judged_like_an_uploads() {
    for status in TRANSIENT {
        let told = create(9).answers(status, &[]);
        let expected = usize::from(!matches!(status, 423 | 425 | 429));
        assert_eq!(orphans(&told), expected, "{status}");
        told.waits().asks("POST", ENDPOINT);
    }
    let lost = create(9).loses().asks("POST", ENDPOINT);
    assert_eq!(orphans(&lost), 1);
    let unsent = create(9).fails(FailureKind::NotSent);
    assert_eq!(orphans(&unsent), 0);
    for (status, hint) in [
        (400, None),
        (401, Some(Hint::Credentials)),
        (403, Some(Hint::Permission)),
        (404, Some(Hint::Endpoint)),
        (409, None),
        (410, Some(Hint::Endpoint)),
        (412, Some(Hint::Version)),
        (413, Some(Hint::TooLarge)),
        (415, None),
        (501, Some(Hint::Method)),
    ] {
        rejected(&create(9).answers(status, &[]).error(), hint, status);
    }
    let error = create(9).answers(201, &[]).error();
    assert!(matches!(
        error,
        Error::Protocol {
            violation: Violation::NoLocation,
            ..
        }
    ));
    let told = create(9).answers(201, &[("location", ENDPOINT)]);
    assert_eq!(orphans(&told), 1);
    let error = told.error();
    assert!(matches!(
        error,
        Error::Protocol {
            violation: Violation::LocationIsEndpoint,
            ..
        }
    ));
    let error = create(9)
        .answers(201, &[("location", "http://u:p@example.org/a")])
        .error();
    assert!(matches!(error, Error::Location { .. }), "{error:?}");
    let (error, told) = create(9).cancel(Cancel::Keep).ends();
    assert!(matches!(error, Error::Cancelled { .. }));
    assert_eq!(told.stopped.len(), 1);
}

// Only a request that is out, and makes something, may leave something.
#[test]
fn a_cancel_tells_of_what_may_stay_and_of_nothing_else() {
    let cancelled = |told: Scenario<Create>| orphans(&told.cancel(Cancel::Keep).ends().1);
    assert_eq!(cancelled(create(9)), 1);
    assert_eq!(cancelled(create(9).answers(429, &[])), 0);
    let (_, told) = concatenate().cancel(Cancel::Now).ends();
    assert_eq!(orphans(&told), 1);
    let (_, told) = terminate().cancel(Cancel::Keep).ends();
    assert_eq!(orphans(&told), 0);
    let (_, told) = discover().cancel(Cancel::Keep).ends();
    assert_eq!(orphans(&told), 0);
}

// D1; §4, 33.
#[test]
fn what_is_not_there_is_deleted() {
    for (status, existed) in [(200, true), (204, true), (404, false), (410, false)] {
        let done = terminate()
            .asks("DELETE", URL)
            .with("tus-resumable", "1.0.0")
            .answers(status, &[])
            .succeeds();
        assert_eq!(done.existed, existed, "{status}");
    }
    let told = terminate().answers(307, &[("location", "/b")]);
    told.asks("DELETE", "http://example.org/b");
}

// An attempt that cannot have done anything is no reason to say that it was there.
#[test]
fn what_was_not_there_was_not_deleted_by_an_attempt_that_failed() {
    let refused = [409, 423, 425, 429].map(|status| terminate().answers(status, &[]).waits());
    let not_sent = terminate().fails(FailureKind::NotSent).waits();
    for told in refused.into_iter().chain([not_sent]) {
        assert!(!told.answers(404, &[]).succeeds().existed);
    }
    let unknown = [408, 500, 504].map(|status| terminate().answers(status, &[]).waits());
    for told in unknown.into_iter().chain([terminate().loses()]) {
        let told = told.answers(429, &[]).waits();
        assert!(told.answers(404, &[]).succeeds().existed);
    }
}

#[test]
fn a_deletion_is_repeated() {
    for status in TRANSIENT.into_iter().chain([409]) {
        let told = terminate().answers(status, &[]);
        assert!(!told.over(), "{status}");
        told.waits()
            .asks("DELETE", URL)
            .answers(404, &[])
            .succeeds();
    }
    // Whether it was heard is soon known.
    let done = terminate()
        .loses()
        .asks("DELETE", URL)
        .answers(404, &[])
        .succeeds();
    assert!(done.existed, "it may have been this one");
    let told = terminate().times_out().asks("DELETE", URL);
    assert_eq!(
        told.count(|event| matches!(
            event,
            Event::Retrying {
                cause: tus_proto::Cause::TimedOut(Deadline::Answer),
                ..
            }
        )),
        1
    );
    assert_eq!(orphans(&told), 0);
}

#[test]
fn a_deletion_that_is_refused_is_the_end() {
    for (status, hint) in [
        (400, None),
        (401, Some(Hint::Credentials)),
        (403, Some(Hint::Permission)),
        (405, Some(Hint::Method)),
        (412, Some(Hint::Version)),
        (501, Some(Hint::Method)),
    ] {
        rejected(&terminate().answers(status, &[]).error(), hint, status);
    }
    let error = terminate().answers(302, &[("location", "/login")]).error();
    rejected(&error, Some(Hint::Redirect), 302);
}

#[test]
fn a_call_may_ask_for_credentials() {
    let opted = config(|config| config.authorize = Authorize::OnUnauthorized);
    let asked = || Scenario::new(Terminate::new(URL, &opted).unwrap()).answers(401, &[]);
    let fresh = crate::scenario::headers(&[("authorization", "fresh")]);
    let told = asked().answers_duty(tus_proto::Answer::Credentials(Some(fresh)));
    told.asks("DELETE", URL)
        .with("authorization", "fresh")
        .answers(204, &[])
        .succeeds();
    for told in [
        asked().answers_duty(tus_proto::Answer::Credentials(None)),
        asked().fails_duty(FailureKind::Source),
    ] {
        rejected(&told.error(), Some(Hint::Credentials), "none given");
    }
    let (id, _) = asked().duty.unwrap();
    for how in [Cancel::Keep, Cancel::Terminate, Cancel::Now] {
        let (error, told) = asked().cancel(how).ends();
        assert!(matches!(error, Error::Cancelled { .. }), "{how:?}");
        assert_eq!(told.stopped, [id]);
    }
}

// P2; R2, R5.
#[test]
fn parts_are_joined_in_their_order() {
    let told = concatenate()
        .asks("POST", ENDPOINT)
        .with(
            "upload-concat",
            "final;http://example.org/files/1 http://example.org/files/2",
        )
        .with("content-length", "0")
        // tusd takes it for a PATCH of the final.
        .without("content-type")
        .without("upload-length")
        .without("upload-metadata");
    assert_eq!(told.wait(), Duration::from_secs(30 + 15 * 60));
    let told = told.answers(201, &[("location", "a")]);
    assert_eq!(told.succeeds().expose(), URL);

    let named = config(|config| {
        config.parts.relative = true;
        config.metadata.insert("filename", "a b").unwrap();
    });
    let parts = [PARTS[1], PARTS[1], "http://other.org/1"];
    let told = Scenario::new(Concatenate::new(ENDPOINT, &parts, &named).unwrap());
    told.with(
        "upload-concat",
        "final;/files/2 /files/2 http://other.org/1",
    )
    .with("upload-metadata", "filename YSBi");
}

// "As create", but for what says that a part is not finished.
#[test]
fn a_concatenation_is_judged_like_a_creation() {
    for status in TRANSIENT.into_iter().chain([409]) {
        let told = concatenate().answers(status, &[]);
        let expected = usize::from(!matches!(status, 409 | 423 | 425 | 429));
        assert_eq!(orphans(&told), expected, "{status}");
        told.waits().asks("POST", ENDPOINT);
    }
    assert_eq!(orphans(&concatenate().loses()), 1);
    for (status, hint) in [
        (400, None),
        (403, Some(Hint::Permission)),
        (404, Some(Hint::Parts)),
        (405, Some(Hint::Endpoint)),
        (410, Some(Hint::Parts)),
        (431, Some(Hint::PartListTooLong)),
        (501, Some(Hint::Method)),
    ] {
        rejected(&concatenate().answers(status, &[]).error(), hint, status);
    }
    let words = "ERR_UPLOAD_NOT_FINISHED: one of the partial uploads is not finished";
    let error = concatenate().answers_with(400, &[], words).error();
    assert!(matches!(error, Error::Rejected { words: said, .. } if said == words));
    let error = concatenate().answers(201, &[]).error();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

// R4: a server that joined the parts may have removed them.
#[test]
fn parts_that_are_gone_after_a_doubt_may_be_joined() {
    let after = |status| concatenate().answers(status, &[]).waits();
    for status in [400, 404, 410] {
        for told in [concatenate().loses(), after(500), after(503)] {
            // What was not processed changes nothing of that.
            let told = told.answers(429, &[]).waits();
            let error = told.answers(status, &[]).error();
            assert!(
                matches!(&error, Error::CompletionUnknown { place } if place.op == Op::Concatenate),
                "{status}: {error:?}"
            );
        }
        for told in [
            after(429),
            concatenate().fails(FailureKind::NotSent).waits(),
        ] {
            let error = told.answers(status, &[]).error();
            assert!(
                matches!(error, Error::Rejected { .. }),
                "{status}: {error:?}"
            );
        }
        // Of a creation it says that the endpoint is none.
        let error = create(9).loses().answers(status, &[]).error();
        assert!(
            matches!(error, Error::Rejected { .. }),
            "{status}: {error:?}"
        );
    }
    let error = concatenate().loses().answers(403, &[]).error();
    rejected(
        &error,
        Some(Hint::Permission),
        "it is not for lack of parts",
    );
    // Nor do credentials that nobody has say more.
    let asks = config(|config| config.authorize = Authorize::When(std::sync::Arc::new(|_| true)));
    let told = Scenario::new(Concatenate::new(ENDPOINT, &PARTS, &asks).unwrap());
    let told = told.loses().answers(400, &[]);
    let error = told
        .answers_duty(tus_proto::Answer::Credentials(None))
        .error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
}

#[test]
fn a_list_of_parts_must_be_one_that_can_be_sent() {
    let refused = |parts: &[&str], change: &dyn Fn(&mut Config)| {
        Concatenate::new(ENDPOINT, parts, &config(|config| change(config))).unwrap_err()
    };
    let plain = |_: &mut Config| ();
    assert_eq!(refused(&[], &plain), Misuse::Parts);
    let many = vec![PARTS[0]; 4097];
    let large = |config: &mut Config| config.parts.list_limit = usize::MAX;
    assert_eq!(refused(&many, &large), Misuse::Parts);
    assert!(Concatenate::new(ENDPOINT, &many[1..], &config(|config| large(config))).is_ok());
    // "final;", two URLs, a space.
    let length = 6 + PARTS[0].len() + PARTS[1].len() + 1;
    let limit = |limit: usize| config(|config| config.parts.list_limit = limit);
    assert!(Concatenate::new(ENDPOINT, &PARTS, &limit(length)).is_ok());
    let misuse = Concatenate::new(ENDPOINT, &PARTS, &limit(length - 1)).unwrap_err();
    let too_long = Misuse::PartList {
        length,
        limit: length - 1,
    };
    assert_eq!(misuse, too_long);
    assert_eq!(
        refused(&PARTS, &|config| config.partial = true),
        Misuse::PartOfParts
    );
    for part in [
        "/files/1",
        "http://u:p@example.org/1",
        "ftp://example.org/1",
    ] {
        let misuse = refused(&[part], &plain);
        assert!(matches!(misuse, Misuse::Url(_)), "{misuse:?}");
    }
}

// A part on another origin gets nothing of the caller's: its URL is only named.
#[test]
fn a_joined_upload_elsewhere_is_put_to_the_policy() {
    let strict = config(|config| config.foreign = tus_proto::Foreign::Refuse);
    let told = Scenario::new(Concatenate::new(ENDPOINT, &PARTS, &strict).unwrap());
    let error = told
        .answers(201, &[("location", "http://other.org/a")])
        .error();
    assert!(
        matches!(
            error,
            Error::Location {
                refusal: Refusal::ForeignRefused(_),
                ..
            }
        ),
        "{error:?}"
    );
}

// Neither where it was asked nor, if that was redirected, the caller's own.
#[test]
fn what_is_made_is_not_at_the_endpoint() {
    fn check<M: Machine>(told: Scenario<M>)
    where
        M::Success: std::fmt::Debug,
    {
        let error = told.answers(201, &[("location", ENDPOINT)]).error();
        assert!(
            matches!(
                error,
                Error::Protocol {
                    violation: Violation::LocationIsEndpoint,
                    ..
                }
            ),
            "{error:?}"
        );
    }
    check(create(5));
    check(concatenate());
    for status in [307, 308] {
        let elsewhere = [("location", "http://example.org/other/")];
        check(
            create(5)
                .answers(status, &elsewhere)
                .asks("POST", elsewhere[0].1),
        );
        check(
            concatenate()
                .answers(status, &elsewhere)
                .asks("POST", elsewhere[0].1),
        );
    }
}
