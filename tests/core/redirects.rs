//! Redirects, other origins, misdirected requests and fresh credentials.

use http::HeaderMap;
use tus_proto::{
    Answer, Authorize, Duty, Error, Event, Foreign, Hint, Refusal, UploadUrl, Violation,
};

use crate::scenario::{ENDPOINT, Scenario, URL, headers};

fn secret(config: &mut tus_proto::Config) {
    config.headers = headers(&[("authorization", "secret"), ("x-key", "secret")]);
}

#[test]
fn a_temporary_redirect_is_for_one_request() {
    Scenario::at_url(9)
        .answers(307, &[("location", "/b")])
        .asks("HEAD", "http://example.org/b")
        .finds(4)
        .asks("PATCH", URL)
        .answers(307, &[("location", "/b")])
        .asks("PATCH", "http://example.org/b")
        .appends(4..9)
        .loses()
        .probes();
}

#[test]
fn a_permanent_redirect_moves_the_upload_once_tus_is_heard_there() {
    let scenario = Scenario::created(9)
        .loses()
        .answers(308, &[("location", "/b")])
        .asks("HEAD", "http://example.org/b");
    assert_eq!(scenario.checkpoint().url().unwrap().expose(), URL);
    let scenario = scenario.finds(4);
    assert_eq!(
        scenario.checkpoint().url().unwrap().expose(),
        "http://example.org/b"
    );
    scenario.asks("PATCH", "http://example.org/b");
    // What is temporary anywhere on the way is temporary.
    Scenario::at_url(9)
        .answers(308, &[("location", "/b")])
        .answers(307, &[("location", "/c")])
        .finds(4)
        .asks("PATCH", URL);
    Scenario::at_url(9)
        .answers(308, &[("location", "/login")])
        .answers(503, &[])
        .waits()
        .asks("HEAD", URL);
}

#[test]
fn an_append_that_an_answer_ends_names_the_url_that_answered() {
    let at = |url: &str, error: &Error| {
        assert_eq!(error.place().url.expose(), url, "{error:?}");
    };
    let led = || Scenario::created(9).answers(307, &[("location", "/b")]);
    for status in [403, 422] {
        at("http://example.org/b", &led().answers(status, &[]).error());
    }
    let too_large = led().answers(413, &[]).probes().finds(0);
    at("http://example.org/b", &too_large.error());
    let another = led().answers(201, &[("location", "/c")]);
    at("http://example.org/b", &another.error());
    // What no one answer says is of the upload.
    let gone = led().loses().answers(307, &[("location", "/b")]);
    at(URL, &gone.cancel(tus_proto::Cancel::Keep).error());
}

#[test]
fn redirects_end() {
    let mut scenario = Scenario::create(9);
    for _ in 0..5 {
        scenario = scenario.answers(307, &[("location", "/circle")]);
    }
    let error = scenario.answers(307, &[("location", "/circle")]).error();
    assert!(
        matches!(
            error,
            Error::Protocol {
                violation: Violation::Redirects,
                ..
            }
        ),
        "{error:?}"
    );
    let error = Scenario::create(9).answers(308, &[]).error();
    assert!(
        matches!(
            error,
            Error::Rejected {
                hint: Some(Hint::Redirect),
                ..
            }
        ),
        "{error:?}"
    );
    let error = Scenario::create(9)
        .answers(302, &[("location", "/b")])
        .error();
    assert!(
        matches!(
            error,
            Error::Rejected {
                hint: Some(Hint::Redirect),
                ..
            }
        ),
        "{error:?}"
    );
}

// S1.
#[test]
fn what_is_the_users_goes_to_the_endpoints_origin_alone() {
    for foreign in [
        "http://example.net/files/a",
        "http://example.org:8080/files/a",
        "https://example.org:8443/files/a",
        "//example.net/files/a",
    ] {
        let scenario = Scenario::create_with(9, secret)
            .with("authorization", "secret")
            .answers(201, &[("location", foreign)])
            .without("authorization")
            .without("x-key")
            .with("tus-resumable", "1.0.0");
        assert_eq!(
            scenario.count(|event| matches!(event, Event::Foreign { .. })),
            1
        );
        assert!(!scenario.out.as_ref().unwrap().2.trusted);
        scenario.loses().asks_head_without_secrets();
        Scenario::create_with(9, secret)
            .answers(307, &[("location", foreign)])
            .without("authorization")
            .without("x-key");
        let error = Scenario::create_with(9, |config| {
            secret(config);
            config.foreign = Foreign::Refuse;
        })
        .answers(201, &[("location", foreign)])
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
    let trusted = Scenario::create_with(9, |config| {
        secret(config);
        config.foreign = Foreign::Trust(vec!["http://example.net".parse().unwrap()]);
    })
    .answers(201, &[("location", "http://example.net/a")])
    .with("authorization", "secret");
    assert!(trusted.out.as_ref().unwrap().2.trusted);
    Scenario::create_with(9, secret)
        .answers(201, &[("location", "HTTP://EXAMPLE.org:80/files/a")])
        .with("authorization", "secret");
}

impl Scenario<tus_proto::Upload> {
    fn asks_head_without_secrets(self) {
        assert_eq!(self.request().method(), "HEAD");
        self.without("authorization").without("x-key");
    }
}

// S1: trust is this run's, and never a checkpoint's.
#[test]
fn a_resumed_upload_elsewhere_gets_no_secrets() {
    let checkpoint = Scenario::create_with(9, secret)
        .answers(201, &[("location", "http://example.net/a")])
        .checkpoint();
    Scenario::resume_with(&checkpoint, secret)
        .asks("HEAD", "http://example.net/a")
        .without("authorization")
        .without("x-key");
}

// S2; §4, 30. The rules themselves are tested where they are made.
#[test]
fn https_never_becomes_http() {
    let https = |location: &str| {
        let upload = tus_proto::Upload::create(
            "https://example.org/files/",
            9,
            &tus_proto::Config::default(),
        );
        Scenario::new(upload.unwrap()).answers(201, &[("location", location)])
    };
    https("http://example.org/files/a?k")
        .asks("PATCH", "https://example.org/files/a?k")
        .tells(&Event::Upgraded {
            url: upload_url("https://example.org/files/a?k"),
        });
    for location in ["http://example.net/a", "http://example.org:8080/a"] {
        let error = https(location).error();
        assert!(
            matches!(
                error,
                Error::Location {
                    refusal: Refusal::Downgrade(_),
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

/// The URL as a machine would tell of it.
fn upload_url(url: &str) -> UploadUrl {
    let scenario =
        Scenario::new(tus_proto::Upload::append(url, 0, &tus_proto::Config::default()).unwrap());
    scenario.finds(0).succeeds().url
}

// S3.
#[test]
fn nothing_told_shows_a_secret() {
    let scenario = Scenario::create_with(9, secret)
        .answers(201, &[("location", "a?token=hush")])
        .loses()
        .answers(308, &[("location", "/b?token=hush")])
        .answers(403, &[]);
    let shown = format!("{:?} {:?}", scenario.events, scenario.machine);
    let (error, _) = scenario.ends();
    for text in [shown, format!("{error} {error:?}")] {
        assert!(!text.contains("secret") && !text.contains("hush"), "{text}");
    }
}

#[test]
fn a_misdirected_request_goes_once_more_over_a_new_connection() {
    let scenario = Scenario::created_with(9, |config| config.retry.attempts = Some(0));
    assert!(!scenario.out.as_ref().unwrap().2.fresh);
    let scenario = scenario.answers(421, &[]).appends(0..9);
    assert!(scenario.out.as_ref().unwrap().2.fresh);
    let error = scenario.answers(421, &[]).error();
    assert!(matches!(
        error,
        Error::Rejected {
            hint: Some(Hint::Misdirected),
            ..
        }
    ));
    let scenario = Scenario::created_with(9, |config| config.request_size = Some(3))
        .answers(421, &[])
        .confirms(3);
    assert!(!scenario.out.as_ref().unwrap().2.fresh);
}

// Table, 401 and "After Authorize".
#[test]
fn credentials_are_asked_for_where_the_caller_opted_in() {
    let opted = |config: &mut tus_proto::Config| {
        secret(config);
        config.authorize = Authorize::OnUnauthorized;
    };
    let challenge = [
        ("www-authenticate", "Basic"),
        ("www-authenticate", "Bearer"),
    ];
    let scenario = Scenario::created_with(9, opted).answers(401, &challenge);
    let Some((
        _,
        Duty::Authorize {
            uri,
            status,
            challenges,
        },
    )) = &scenario.duty
    else {
        panic!("{:?}", scenario.duty);
    };
    assert_eq!((uri.to_string(), status.as_u16()), (URL.to_owned(), 401));
    assert_eq!(challenges, &["Basic", "Bearer"]);
    scenario
        .answers_duty(Answer::Credentials(Some(headers(&[(
            "authorization",
            "fresh",
        )]))))
        .probes()
        .with("authorization", "fresh")
        .with("x-key", "secret")
        .finds(0)
        .appends(0..9)
        .with("authorization", "fresh");
    for none in [
        Answer::Credentials(None),
        Answer::Saved,
        Answer::Credentials(Some(headers(&[("upload-offset", "1")]))),
    ] {
        let error = Scenario::created_with(9, opted)
            .answers(401, &[])
            .answers_duty(none)
            .error();
        assert!(
            matches!(
                error,
                Error::Rejected {
                    hint: Some(Hint::Credentials),
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.resumable());
    }
    // Three rounds without new bytes.
    let mut scenario = Scenario::created_with(9, opted);
    for _ in 0..3 {
        scenario = scenario
            .answers(401, &[])
            .answers_duty(Answer::Credentials(Some(HeaderMap::new())))
            .finds(0);
    }
    assert!(matches!(
        scenario.answers(401, &[]).error(),
        Error::Rejected { .. }
    ));
    let mut scenario = Scenario::created_with(9, |config| {
        opted(config);
        config.request_size = Some(1);
    });
    for offset in 0..5 {
        scenario = scenario
            .answers(401, &[])
            .answers_duty(Answer::Credentials(Some(HeaderMap::new())))
            .finds(offset)
            .confirms(offset + 1);
    }
    Scenario::create_with(9, opted)
        .answers(401, &[])
        .answers_duty(Answer::Credentials(Some(HeaderMap::new())))
        .asks("POST", ENDPOINT);
}

#[test]
fn the_predicate_sees_refusals_only() {
    let any = |config: &mut tus_proto::Config| {
        config.authorize = Authorize::When(std::sync::Arc::new(|_| true));
    };
    for status in [300, 302, 400, 401, 403] {
        assert!(
            Scenario::created_with(9, any)
                .answers(status, &[])
                .duty
                .is_some(),
            "{status}"
        );
    }
    for (status, expected) in [
        (401, Some(Hint::Credentials)),
        (403, Some(Hint::Permission)),
        (302, Some(Hint::Redirect)),
        (400, None),
    ] {
        let error = Scenario::created_with(9, any)
            .answers(status, &[])
            .answers_duty(Answer::Credentials(None))
            .error();
        assert!(
            matches!(error, Error::Rejected { hint, .. } if hint == expected),
            "{error:?}"
        );
    }
    for status in [404, 409, 422, 500] {
        assert!(
            Scenario::created_with(9, any)
                .answers(status, &[])
                .duty
                .is_none(),
            "{status}"
        );
    }
}

// A refusal that must survive is saved first, and only then is anybody asked for a password.
#[test]
fn credentials_are_asked_for_after_the_checkpoint_is_saved() {
    let opted = |config: &mut tus_proto::Config| config.authorize = Authorize::OnUnauthorized;
    let scenario = Scenario::created_with(9, opted)
        .holding_saves()
        .sent(9)
        .answers(401, &[]);
    assert!(matches!(scenario.duty, Some((_, Duty::Save(Some(_))))));
    let scenario = scenario.saved();
    assert!(matches!(scenario.duty, Some((_, Duty::Authorize { .. }))));
    let stopped = scenario.cancel(tus_proto::Cancel::Now);
    assert_eq!(
        stopped.stopped.len(),
        1,
        "whoever is asked is told that it is over"
    );
}

// S1: in the next run too.
#[test]
fn an_upload_that_moved_elsewhere_gets_no_secrets_in_the_next_run() {
    let config = crate::scenario::config(secret);
    let upload = tus_proto::Upload::append(URL, 9, &config).unwrap();
    let moved = Scenario::new(upload)
        .with("authorization", "secret")
        .answers(308, &[("location", "http://example.net/b")])
        .without("authorization")
        .finds(4)
        .asks("PATCH", "http://example.net/b");
    let checkpoint = moved.checkpoint();
    let resume = |url, config| tus_proto::Upload::resume(url, checkpoint.clone(), 9, config);
    Scenario::new(resume(URL, &config).unwrap())
        .asks("HEAD", "http://example.net/b")
        .without("authorization");
    let misuse = resume("http://example.net/b", &config).unwrap_err();
    assert_eq!(misuse, tus_proto::Misuse::Checkpoint);
}

// S1: the policy is this run's.
#[test]
fn an_upload_elsewhere_is_refused_and_told_of_in_the_next_run() {
    let checkpoint = Scenario::create(9)
        .answers(201, &[("location", "http://example.net/a")])
        .checkpoint();
    let told = Scenario::resume(&checkpoint).asks("HEAD", "http://example.net/a");
    assert_eq!(
        told.count(|event| matches!(event, Event::Foreign { .. })),
        1
    );
    let refused = Scenario::resume_with(&checkpoint, |config| config.foreign = Foreign::Refuse);
    let error = refused.error();
    assert!(
        matches!(error, Error::Location { .. }) && error.resumable(),
        "{error:?}"
    );
}

#[test]
fn a_redirect_that_is_not_followed_is_named() {
    let error = Scenario::create(9)
        .answers(
            302,
            &[("location", "https://login.example.org/in?next=secret")],
        )
        .error();
    let text = error.to_string();
    assert!(
        text.contains("it redirects to https://login.example.org/in?…"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn an_error_names_the_url_that_answered() {
    let error = Scenario::create(9)
        .answers(307, &[("location", "http://example.net/new")])
        .answers(403, &[])
        .error();
    assert_eq!(error.place().url.expose(), "http://example.net/new");
}
