//! The end of an upload in parts: it is joined, looked at, cleared away, or cancelled.

use std::time::Duration;

use tus_proto::{
    Answer, Authorize, Cancel, Cause, Checkpoint, Completion, Config, Conflict, Error, Event,
    FailureKind, Input, Limit, Machine as _, Violation,
};

use crate::scenario::ENDPOINT;
use crate::several::{Several, WHOLE, failed, offers, unfinished, url};

/// Two parts of five bytes, complete, and the server is asked to join them.
fn asked() -> Several {
    Several::complete(&[5, 5]).joins(&[1, 2])
}

/// Both parts are looked at, and are as they should be.
fn verified(story: Several) -> Several {
    story
        .out(&[1, 2])
        .probes(1)
        .probes(2)
        .finds(1, 5)
        .finds(2, 5)
}

fn orphans(story: &Several) -> usize {
    story.count(|event| matches!(event, Event::Orphaned))
}

#[test]
fn joined_is_acknowledged() {
    let story = asked();
    let joining = Event::Joining { parts: 2 };
    assert!(story.events.contains(&joining));
    // What was begun is durable before it is sent.
    assert!(story.checkpoint().to_text().contains("joining yes\n"));
    let story = story.joined();
    let created = |event: &Event| matches!(event, Event::Created { url } if url.expose() == WHOLE);
    assert_eq!(story.count(created), 1);
    assert_eq!(story.succeeds().completion, Completion::Acknowledged);
    asked().answers(0, 200, &[("location", WHOLE)]).succeeds();
}

/// A checkpoint by other hands.
fn sealed(text: &str) -> Checkpoint {
    let (lines, _) = text.split_at(text.rfind("end ").unwrap());
    let fnv1a = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seal = lines.bytes().fold(0xcbf2_9ce4_8422_2325, fnv1a);
    format!("{lines}end {seal:016x}\n").parse().unwrap()
}

// It would be deleted with the parts.
#[test]
fn a_whole_where_a_part_is_is_none() {
    let complete =
        |discard| Several::complete_with(&[5, 5], |config| config.parts.discard = discard);
    let named = |location: &str| {
        [false, true].map(|discard| complete(discard).answers(0, 201, &[("location", location)]))
    };
    let query = format!("{}?", url(2));
    // Nor is one that a checkpoint has there.
    let kept = early().joined().checkpoint().to_text();
    let kept = sealed(&kept.replace(WHOLE, &url(2)));
    let kept = [false, true].map(|discard| {
        let story = Several::resume_with(&kept, |config| config.parts.discard = discard);
        story.asks(0, "HEAD", &url(2)).finds(0, 10)
    });
    for story in [named(&url(2)), named(&query), kept].into_iter().flatten() {
        let error = story.out(&[]).error();
        assert!(
            matches!(
                error,
                Error::Conflict {
                    conflict: Conflict::Shared,
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

// Neither where it was asked nor, if that was redirected, the caller's own.
#[test]
fn a_whole_at_the_endpoint_is_none() {
    let elsewhere = asked().answers(0, 307, &[("location", "/other/")]);
    let elsewhere = elsewhere.asks(0, "POST", "http://example.org/other/");
    for story in [asked(), elsewhere] {
        let error = story.answers(0, 201, &[("location", ENDPOINT)]).error();
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
        assert!(error.resumable());
    }
}

#[test]
fn nothing_is_asked_before_that_is_saved() {
    let story = Several::created(&[5, 5]).holding_saves().send(&[5, 5]);
    let story = story.out(&[]).saved().joins(&[1, 2]);
    // Nor does it end before that is forgotten.
    let story = story.joined();
    assert!(!story.over());
    story.saved().succeeds();
}

#[test]
fn a_whole_of_another_length_is_not_that_of_the_parts() {
    for (name, value) in [("upload-length", "9"), ("upload-offset", "11")] {
        let story = asked().answers(0, 201, &[("location", WHOLE), (name, value)]);
        assert_eq!(orphans(&story), 1, "{name}");
        let error = story.error();
        assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
        assert!(!error.resumable());
    }
    let right = [
        ("location", WHOLE),
        ("upload-length", "10"),
        ("upload-offset", "10"),
    ];
    asked().answers(0, 201, &right).succeeds();
}

// Nor is the caller asked for credentials: the parts may mend it.
#[test]
fn a_400_to_the_joining_is_put_to_the_parts_first() {
    let asks = |config: &mut Config| {
        config.authorize = Authorize::When(std::sync::Arc::new(|answer| answer.status() == 400));
    };
    let asked = Several::complete_with(&[5, 5], asks).joins(&[1, 2]);
    let story = verified(asked.answers(0, 400, &[]).waits());
    let error = story
        .answers(0, 400, &[])
        .answers_duty(Answer::Credentials(None));
    assert!(matches!(error.error(), Error::Rejected { .. }));
}

// PROTOCOL P3: the server knows better what is complete.
#[test]
fn unfinished_parts_are_looked_at_and_completed() {
    for status in [400, 404, 409, 410] {
        let story = asked().answers(0, status, &[]);
        let story = story.waits().out(&[1, 2]).probes(1).finds(1, 5);
        let story = story.finds(2, 3).waits();
        let story = story.appends(2, 8..10, 3).confirms(2, 5);
        let story = story.joins(&[1, 2]);
        assert_eq!(orphans(&story), 0, "{status}");
        story.joined().succeeds();
    }
}

#[test]
fn a_second_refusal_of_parts_that_are_complete_is_the_end() {
    let story = verified(asked().answers(0, 400, &[]).waits());
    let error = story.answers_with(0, 400, &[], "no").error();
    assert!(
        matches!(error, Error::Rejected { status, .. } if status == 400),
        "{error:?}"
    );
    assert!(error.resumable());
    let error = verified(asked().answers(0, 404, &[]).waits()).answers(0, 404, &[]);
    assert!(matches!(error.error(), Error::Rejected { .. }));
}

// It was told that it was not joined, so a part that is missing was not moved away.
#[test]
fn a_part_that_the_server_lacks_is_made_anew() {
    let story = asked().answers(0, 404, &[]);
    assert!(story.checkpoint().to_text().contains("joining no\n"));
    let story = story.waits().finds(1, 5).answers(2, 410, &[]).posts(2);
    let story = story.answers(2, 201, &[("location", "/files/3")]);
    let story = story.confirms(2, 5).joins(&[1, 3]);
    assert!(story.checkpoint().to_text().contains("joining yes\n"));
    story.joined().succeeds();
}

#[test]
fn other_refusals_are_the_end() {
    for status in [401, 403, 405, 413, 431, 501, 422] {
        let error = asked().answers(0, status, &[]).error();
        assert!(
            matches!(&error, Error::Rejected { status: told, .. } if *told == status),
            "{error:?}"
        );
        assert!(error.resumable());
    }
    for fields in [&[][..], &[("location", "/files/")]] {
        let story = asked().answers(0, 201, fields);
        assert_eq!(orphans(&story), 1, "{fields:?}");
        let error = story.error();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }
}

// §4, 25.
#[test]
fn a_lost_answer_is_asked_for_again_when_the_parts_are_still_there() {
    for status in [0, 408, 500, 502, 503, 504] {
        let story = match status {
            0 => asked().loses(0),
            status => asked().answers(0, status, &[]).waits(),
        };
        // Whatever there may be of it, nobody knows where.
        assert_eq!(orphans(&story), 1, "{status}");
        let story = verified(story).joins(&[1, 2]).joined();
        assert_eq!(story.succeeds().completion, Completion::Acknowledged);
    }
}

#[test]
fn what_cannot_be_sent_is_the_end_of_the_whole() {
    let whole = || early().joined();
    let terminated = whole().cancel(Cancel::Terminate);
    for (stage, kept, story) in [
        ("it is joined", true, asked()),
        ("it is looked at", true, whole().send(&[5, 5]).looks()),
        ("it is deleted", false, terminated.asks(0, "DELETE", WHOLE)),
    ] {
        let mut story = story.fails(0, FailureKind::Hopeless);
        while let Some(lane) = story.lanes().first().copied() {
            story = story.answers(lane, 204, &[]);
        }
        let error = story.error();
        assert!(
            matches!(error, Error::Hopeless { .. }),
            "{stage}: {error:?}"
        );
        assert_eq!(error.resumable(), kept, "{stage}");
    }
}

#[test]
fn a_busy_server_is_not_asked_for_the_parts_at_once() {
    let story = asked().answers(0, 503, &[("retry-after", "7")]).out(&[]);
    assert!(story.wait() >= Duration::from_secs(7));
    verified(story.waits()).joins(&[1, 2]);
}

#[test]
fn what_was_not_sent_is_sent_again() {
    let story = asked().fails(0, FailureKind::NotSent).waits();
    assert_eq!(orphans(&story), 0);
    story.joins(&[1, 2]).joined().succeeds();
    let story = asked().answers(0, 429, &[("retry-after", "7")]);
    assert!(story.wait() >= Duration::from_secs(7));
    let story = story.waits().joins(&[1, 2]);
    assert_eq!(orphans(&story), 0);
    story.joined().succeeds();
}

#[test]
fn after_a_doubt_a_part_that_is_gone_leaves_it_unknown() {
    let story = asked().loses(0).finds(1, 5).answers(2, 404, &[]);
    let (error, story) = story.ends();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
    assert!(error.resumable());
    // A later run says the same of the same state.
    let again = Several::resume(&story.checkpoint()).answers(2, 404, &[]);
    let (error, story) = again.ends();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
    assert_eq!(
        story.count(|event| matches!(event, Event::Recreating { .. })),
        0
    );
    // The doubt outlasts a refusal.
    let story = verified(asked().loses(0)).answers(0, 409, &[]).waits();
    let error = story.answers(1, 404, &[]).error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
}

#[test]
fn a_run_that_was_killed_while_joining_looks_at_the_parts_first() {
    let story = Several::resume(&asked().checkpoint());
    let story = verified(story).joins(&[1, 2]).joined();
    assert_eq!(story.succeeds().completion, Completion::Acknowledged);
    let gone = Several::resume(&asked().checkpoint()).answers(1, 410, &[]);
    let error = gone.error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
    assert!(error.resumable());
}

// I6.
#[test]
fn joining_has_one_budget_however_often_the_parts_are_looked_at() {
    for status in [0, 409, 500] {
        let mut story = Several::complete_with(&[5, 5], |config| {
            config.retry.attempts = Some(3);
        });
        let mut times = 0;
        while !story.over() {
            times += 1;
            assert!(times < 10, "it never ends");
            story = match status {
                0 => story.loses(0),
                status => story.answers(0, status, &[]),
            };
            if story.lanes().is_empty() && !story.over() {
                story = story.waits();
            }
            if !story.over() {
                story = verified(story);
            }
        }
        let error = story.error();
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
        assert_eq!((times, error.place().attempts), (4, 4), "{status}");
    }
}

#[test]
fn new_bytes_of_a_part_renew_what_the_joining_may_cost() {
    let story = Several::complete_with(&[5, 5], |config| config.retry.attempts = Some(1));
    let story = story.answers(0, 400, &[]).waits();
    let story = story.finds(1, 5).answers(2, 410, &[]).creates(2);
    let story = story.confirms(2, 5).joins(&[1, 2]).answers(0, 503, &[]);
    verified(story.waits()).joins(&[1, 2]).joined().succeeds();
}

#[test]
fn the_server_may_take_its_time_to_join() {
    // The connection has its own.
    let story = asked().after(Duration::from_secs(30 + 15 * 60 - 1));
    let story = story.joins(&[1, 2]);
    story.after(Duration::from_secs(1)).probes(1);
}

// Before the parts are complete.

/// The whole is asked for when two parts of five bytes are created.
fn early() -> Several {
    Several::created_with(&[5, 5], unfinished).joins(&[1, 2])
}

#[test]
fn the_whole_may_be_asked_for_first() {
    let story = Several::join_with(&[5, 0, 5], unfinished);
    let story = story.creates(1).out(&[2, 3]);
    let story = story.creates(2).creates(3).joins(&[1, 2, 3]);
    // What was begun is durable before it is sent; where it is known what came of it, there is no doubt.
    let text = story.checkpoint().to_text();
    assert!(text.contains("joining yes\n"), "{text}");
    let story = story.joined().out(&[1, 3]).appends(3, 5..10, 0);
    let text = story.checkpoint().to_text();
    assert!(
        text.contains(WHOLE) && text.contains("joining no\n"),
        "{text}"
    );
    let story = story.confirms(1, 5).confirms(3, 5).looks();
    // P4: that it lacks an offset is no failed attempt.
    let story = story.answers(0, 200, &[]).waits().looks();
    let story = story.answers(0, 200, &[("upload-length", "10")]).waits();
    let story = story.finds(0, 7).waits().looks().finds(0, 10);
    assert_eq!(
        story.count(|event| matches!(event, Event::Retrying { .. })),
        0
    );
    assert_eq!(story.succeeds().completion, Completion::Acknowledged);
}

#[test]
fn parts_that_are_complete_at_their_creation_are_joined_as_ever() {
    let story = Several::join_with(&[5, 0], |config| {
        unfinished(config);
        let server = config.server.as_mut().unwrap();
        let extensions = server.extensions.as_mut().unwrap();
        extensions.push("creation-with-upload".to_owned());
    });
    let whole = [("location", "/files/1"), ("upload-offset", "5")];
    let story = story.answers(1, 201, &whole).creates(2).joins(&[1, 2]);
    assert!(story.checkpoint().to_text().contains(
        "joining yes
"
    ));
    story.joined().succeeds();
}

#[test]
fn a_whole_may_be_complete_by_the_answer_that_names_it() {
    let whole = [("location", WHOLE), ("upload-offset", "10")];
    asked().answers(0, 201, &whole).succeeds();
}

// It was asked for before a byte was sent: whatever it has, it is not the source's.
#[test]
fn a_whole_asked_for_early_is_not_complete_before_its_parts() {
    let whole = [("location", WHOLE), ("upload-offset", "10")];
    let story = early().answers(0, 201, &whole).out(&[1, 2]);
    let story = story.appends(1, 0..5, 0).appends(2, 5..10, 0);
    story.send(&[5, 5]).looks().finds(0, 10).succeeds();
}

// R8: the server checks a part when it is complete, and did not want this one.
#[test]
fn a_whole_is_not_asked_for_early_while_the_refusal_of_a_part_stands() {
    let story = Several::created_with(&[5, 5], |config| offers(config, &["concatenation"]));
    let story = story.sent(1, 5).answers_with(1, 422, &[], "wrong");
    let kept = story.checkpoint();
    assert!(kept.to_text().contains("ending refused 422 wrong\n"));
    assert!(kept.to_text().contains("joining no\n"));
    let story = Several::resume_with(&kept, unfinished);
    let error = story.finds(1, 5).error();
    assert!(
        matches!(&error, Error::Unfinished { status, .. } if *status == 422),
        "{error:?}"
    );
    assert!(error.resumable());
}

#[test]
fn a_whole_that_was_asked_for_early_is_not_complete_by_its_name_alone() {
    let started = [("location", WHOLE), ("upload-offset", "4")];
    let story = early().answers(0, 201, &started).out(&[1, 2]);
    story.send(&[5, 5]).looks().finds(0, 10).succeeds();
}

#[test]
fn what_completed_a_part_unheard_makes_the_whole_an_observation() {
    let story = early().joined().confirms(1, 5).loses(2).finds(2, 5);
    let done = story.finds(0, 10).succeeds();
    assert_eq!(done.completion, Completion::Observed);
}

#[test]
fn only_where_the_server_offers_it_is_it_asked_for_first() {
    let wish = |config: &mut tus_proto::Config| config.parts.unfinished = true;
    Several::created_with(&[5, 5], wish).out(&[1, 2]);
    let story = Several::created_with(&[5, 5], |config| {
        wish(config);
        offers(config, &["concatenation"]);
    });
    story.out(&[1, 2]);
}

#[test]
fn too_early_is_no_failure() {
    for status in [400, 404, 409] {
        let story = early().answers(0, status, &[]).out(&[1, 2]);
        let story = story.appends(1, 0..5, 0).appends(2, 5..10, 0);
        let story = story.send(&[5, 5]).joins(&[1, 2]).joined();
        assert_eq!(
            story.count(|event| matches!(event, Event::Retrying { .. })),
            0
        );
        story.succeeds();
    }
}

#[test]
fn an_early_question_that_is_lost_is_asked_again() {
    let story = early().loses(0).joins(&[1, 2]);
    assert_eq!(orphans(&story), 1);
    story.joined().out(&[1, 2]);
}

// Nothing was asked for that may have been done.
#[test]
fn a_look_that_is_lost_leaves_no_doubt() {
    let story = early().joined().send(&[5, 5]).looks().loses(0).looks();
    assert_eq!(orphans(&story), 0);
    assert_eq!(story.finds(0, 10).succeeds().url.expose(), WHOLE);
}

#[test]
fn a_whole_that_vanishes_leaves_it_unknown() {
    let error = early().joined().send(&[5, 5]).answers(0, 410, &[]).error();
    assert!(
        matches!(&error, Error::CompletionUnknown { place } if place.url.expose() == WHOLE),
        "{error:?}"
    );
    assert!(error.resumable());
}

// HEAD is known to be let through where a whole was named.
#[test]
fn a_look_that_is_not_let_through_is_repeated() {
    for status in [405, 501, 505] {
        let story = early().joined().send(&[5, 5]);
        let story = story.looks().answers(0, status, &[]).waits().looks();
        story.finds(0, 10).succeeds();
    }
}

// As for any upload: a proxy may be wrong about it.
#[test]
fn a_whole_is_not_gone_for_one_404_of_a_proxy() {
    let proxy = || Several::unsigned(404);
    let story = early().joined().send(&[5, 5]);
    let story = story.answered(0, proxy()).waits().looks();
    let story = story.answered(0, proxy()).after(Duration::from_secs(40));
    story.looks().finds(0, 10).succeeds();
    let story = early().joined().send(&[5, 5]).answered(0, proxy());
    let story = story.after(Duration::from_secs(40)).answered(0, proxy());
    let story = story.after(Duration::from_secs(40)).answered(0, proxy());
    let error = story.error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
}

#[test]
fn a_whole_that_is_never_joined_is_given_up() {
    let mut story = Several::created_with(&[5, 5], |config| {
        unfinished(config);
        config.retry.attempts = Some(1);
        config.timeouts.concatenation = Duration::from_secs(100);
    })
    .joined()
    .send(&[5, 5]);
    let mut looks = 0;
    while !story.over() {
        looks += 1;
        assert!(looks < 20, "it never ends");
        story = story.looks().answers(0, 200, &[]);
        if !story.over() {
            story = story.waits();
        }
    }
    let error = story.error();
    let Error::Exhausted { cause, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(cause.as_deref(), Some(&Cause::Unjoined));
    assert!(looks > 5, "{looks}");
}

// A thousand requests without progress are too many, but not of these.
#[test]
fn a_whole_is_looked_at_for_as_long_as_joining_may_take() {
    let day = Duration::from_secs(24 * 60 * 60);
    let mut story = Several::created_with(&[5, 5], |config| {
        unfinished(config);
        config.timeouts.concatenation = day;
    });
    story = story.joined().send(&[5, 5]).looks();
    let mut waited = Duration::ZERO;
    while waited < day {
        story = story.looks().answers(0, 200, &[]);
        waited += story.wait();
        story = story.waits();
    }
    assert_eq!(
        story.count(|event| matches!(event, Event::Retrying { .. })),
        0
    );
    story.looks().finds(0, 10).succeeds();
}

#[test]
fn a_whole_of_another_length_is_a_conflict() {
    let story = early().joined().send(&[5, 5]);
    let error = story.answers(0, 200, &[("upload-length", "11")]).error();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    assert!(!error.resumable());
}

#[test]
fn a_later_run_looks_at_the_whole_first() {
    let checkpoint = early().joined().checkpoint();
    let story = Several::resume_with(&checkpoint, unfinished).looks();
    let done = story.finds(0, 10).succeeds();
    assert_eq!(done.completion, Completion::Observed);
    // Not complete, so the parts are.
    for fields in [&[][..], &[("upload-offset", "5")]] {
        let story = Several::resume_with(&checkpoint, |_| ()).looks();
        let story = story.answers(0, 200, fields).probes(1).probes(2);
        let story = story.finds(1, 5).finds(2, 2).confirms(2, 5).looks();
        story.finds(0, 10).succeeds();
    }
}

// Once it waits for them, another part in the place of one that is gone would not be in it.
#[test]
fn with_a_whole_that_waits_a_part_that_is_gone_is_not_just_made_anew() {
    // What it had is not known: it may have been completed, and moved away.
    let checkpoint = early().joined().checkpoint();
    let story = Several::resume_with(&checkpoint, |_| ()).answers(0, 200, &[]);
    let error = story.answers(1, 410, &[]).error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
    // It was not complete, so neither is the whole: both are asked for anew.
    let story = early().joined().sent(1, 3).confirms(1, 3).sent(1, 0);
    let story = story.loses(1).answers(1, 410, &[]);
    assert_eq!(orphans(&story), 1);
    let story = story.answers(1, 201, &[("location", "/files/3")]);
    assert!(!story.checkpoint().to_text().contains(WHOLE));
    let story = story.confirms(1, 5).confirms(2, 5).joins(&[3, 2]);
    story.joined().succeeds();
    // Nor was the other part joined then, though all of it was sent.
    let story = early().joined().sent(2, 5).confirms(2, 3).sent(2, 0);
    let story = story.sent(1, 3).confirms(1, 3).sent(1, 0).loses(1);
    let story = story.answers(1, 410, &[]).loses(2);
    story.answers(2, 410, &[]).posts(2);
}

// Found by the simulation: the later run asked for ever whether the whole was complete.
#[test]
fn nor_does_a_later_run_wait_for_a_whole_that_names_a_part_that_is_gone() {
    let story = Several::created_with(&[5, 5], |config| {
        unfinished(config);
        config.recreations = 0;
    });
    let story = story.joins(&[1, 2]).joined().sent(1, 3).confirms(1, 3);
    let (error, story) = story.sent(1, 0).loses(1).answers(1, 410, &[]).ends();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    assert!(error.resumable(), "the other part is there");
    let story = Several::resume_with(&story.checkpoint(), unfinished).looks();
    let story = story.answers(0, 200, &[]);
    assert_eq!(orphans(&story), 1);
    let story = story.posts(1).probes(2).finds(2, 5);
    let story = story.answers(1, 201, &[("location", "/files/3")]);
    assert!(!story.checkpoint().to_text().contains(WHOLE));
    story.confirms(1, 5).joins(&[3, 2]).joined().succeeds();
}

// A part that lacks bytes shows that it was never complete.
#[test]
fn a_whole_that_is_gone_before_its_parts_are_complete_is_asked_for_again() {
    let tus = [("tus-resumable", "1.0.0")];
    let story = early().joined().confirms(1, 3).confirms(2, 5);
    let (_, story) = story.cancel(Cancel::Keep).ends();
    for status in [404, 410] {
        let resumed = || {
            let story = Several::resume_with(&story.checkpoint(), unfinished);
            story.looks().answers(0, status, &tus)
        };
        let story = resumed().finds(2, 5).finds(1, 3).appends(1, 3..5, 3);
        assert_eq!(orphans(&story), 1);
        assert!(!story.checkpoint().to_text().contains(WHOLE));
        story.confirms(1, 5).joins(&[1, 2]).joined().succeeds();
        // Where none lacks any, nobody knows.
        let story = resumed().finds(2, 5).finds(1, 5).looks();
        let error = story.answers(0, status, &tus).error();
        assert!(
            matches!(error, Error::CompletionUnknown { .. }),
            "{error:?}"
        );
        let error = resumed().answers(2, 410, &[]).error();
        assert!(
            matches!(error, Error::CompletionUnknown { .. }),
            "{error:?}"
        );
    }
}

// The server may have joined them, and have moved away what is complete.
#[test]
fn a_doubt_from_before_the_parts_were_complete_is_one_after_it() {
    let story = early().loses(0).joins(&[1, 2]).answers(0, 400, &[]);
    assert!(story.checkpoint().to_text().contains("joining yes\n"));
    let story = story.confirms(1, 5).confirms(2, 5).joins(&[1, 2]);
    let story = story.answers(0, 404, &[]).waits().probes(1);
    let error = story.answers(1, 410, &[]).error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
}

#[test]
fn a_part_that_is_gone_may_be_joined_only_where_there_is_a_doubt() {
    let doubtful = early().loses(0).joins(&[1, 2]).answers(0, 400, &[]);
    let refused = early().answers(0, 400, &[]);
    // What is known is saved before any byte.
    let saved = |story: &Several| story.saves.last().cloned().flatten().unwrap().to_text();
    assert!(saved(&refused).contains("joining no\n"));
    assert!(saved(&doubtful).contains("joining yes\n"));
    let gone = |story: Several| {
        // All its bytes went out, and none was taken.
        let story = story.sent(2, 5).answers(2, 423, &[]).waits();
        story.probes(2).answers(2, 410, &[])
    };
    gone(refused).posts(2);
    let error = gone(doubtful).error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
}

// Where the whole is known, no other is that nobody knows of.
#[test]
fn a_whole_that_is_still_being_made_is_no_orphan() {
    let story = asked().answers(0, 201, &[("location", WHOLE), ("upload-offset", "0")]);
    let kept = story.checkpoint();
    assert!(kept.to_text().contains("joining no\n"));
    let story = Several::resume(&kept).looks().finds(0, 0);
    assert_eq!(orphans(&story), 0);
    let story = story.cancel(Cancel::Terminate).asks(0, "DELETE", WHOLE);
    let story = story.answers(0, 204, &[]);
    assert!(
        story
            .answers(1, 204, &[])
            .answers(2, 204, &[])
            .ends_deleted()
    );
}

// Where a refusal stands, nobody looks at the whole first.
#[test]
fn nor_does_it_where_the_refusal_of_another_part_stands() {
    let story = Several::created_with(&[5, 5], |config| {
        unfinished(config);
        config.recreations = 0;
    });
    let story = story.joins(&[1, 2]).joined().sent(2, 5);
    let story = story.answers(2, 500, &[]).sent(1, 0).loses(1);
    let story = story.answers(1, 410, &[]);
    let (error, story) = story.ends();
    assert!(matches!(error, Error::Gone { .. }), "{error:?}");
    let story = Several::resume_with(&story.checkpoint(), unfinished);
    assert_eq!(orphans(&story), 1);
    assert!(!story.checkpoint().to_text().contains(WHOLE));
    let story = story.posts(1).probes(2).finds(2, 0);
    let story = story.answers(1, 201, &[("location", "/files/3")]);
    let story = story.confirms(1, 5).confirms(2, 5).joins(&[3, 2]);
    story.joined().succeeds();
}

// S3. Found by the simulation.
#[test]
fn debug_of_a_checkpoint_does_not_show_where_the_whole_is() {
    let place = [("location", "/files/whole?key=hunter2")];
    let checkpoint = early().answers(0, 201, &place).checkpoint();
    let shown = format!("{checkpoint:?}");
    assert!(shown.contains("/files/whole?…"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn an_unfinished_whole_that_nobody_knows_of_is_told_and_the_parts_come_first() {
    let lost = |config: &mut Config| {
        unfinished(config);
        config.retry.attempts = Some(0);
    };
    let lost = Several::created_with(&[5, 5], lost).joins(&[1, 2]).loses(0);
    let cancelled = early().cancel(Cancel::Keep);
    // Its answer is not known either.
    let refused = early().loses(0).joins(&[1, 2]).answers(0, 403, &[]);
    for story in [early(), lost, cancelled, refused] {
        let kept = story.checkpoint();
        let resumed = || Several::resume_with(&kept, unfinished);
        let story = resumed().probes(1).probes(2);
        assert_eq!(orphans(&story), 1);
        let story = story.finds(1, 5).finds(2, 3).confirms(2, 5);
        story.joins(&[1, 2]).joined().succeeds();
        // It may have become complete, and its parts have gone with it.
        let story = resumed().finds(1, 5).answers(2, 410, &[]);
        let error = story.error();
        assert!(
            matches!(error, Error::CompletionUnknown { .. }),
            "{error:?}"
        );
        let story = resumed().cancel(Cancel::Terminate);
        let story = story.answers(1, 204, &[]).answers(2, 204, &[]);
        assert!(!story.ends_deleted());
    }
}

#[test]
fn where_the_server_never_looked_there_is_no_doubt() {
    let refused = |status, fields: &[(&str, &str)]| {
        let once = |config: &mut Config| config.retry.attempts = Some(0);
        let asked = Several::complete_with(&[5, 5], once).joins(&[1, 2]);
        asked.answers(0, status, fields)
    };
    let once = |config: &mut Config| config.retry.attempts = Some(0);
    let unsent = Several::complete_with(&[5, 5], once).fails(0, FailureKind::NotSent);
    let early = |config: &mut Config| {
        unfinished(config);
        config.retry.attempts = Some(0);
    };
    let early = Several::created_with(&[5, 5], early).answers(0, 423, &[]);
    // It was going to be asked.
    let committing = Several::created(&[5, 5]).confirms(1, 5).holding_saves();
    let committing = committing.confirms(2, 5);
    assert!(committing.is_saving());
    for story in [
        refused(429, &[("retry-after", "3600")]),
        refused(423, &[]),
        unsent,
        early,
        committing.cancel(Cancel::Keep).saved().saved(),
    ] {
        assert!(story.over());
        let text = story.checkpoint().to_text();
        assert!(text.contains("joining no\n"), "{text}");
    }
}

// The parts afterwards.

fn discarding() -> Several {
    let story = Several::complete_with(&[5, 0, 5], |config| config.parts.discard = true);
    story.joined()
}

fn left(story: &Several) -> Vec<String> {
    let left = |event: &Event| match event {
        Event::PartLeft { url } => Some(url.expose()),
        _ => None,
    };
    story.events.iter().filter_map(left).collect()
}

#[test]
fn parts_are_deleted_if_that_is_wished() {
    let story = discarding();
    assert_eq!(
        story.saves.last(),
        Some(&None),
        "there is one upload by now"
    );
    let story = story.asks(0, "DELETE", &url(1)).answers(0, 204, &[]);
    let story = story.asks(0, "DELETE", &url(2)).answers(0, 404, &[]);
    let story = story.asks(0, "DELETE", &url(3)).answers(0, 204, &[]);
    assert!(left(&story).is_empty());
    assert!(story.succeeds().parts.is_empty());
}

#[test]
fn a_part_that_cannot_be_deleted_stays_and_is_told() {
    let story = discarding().answers(0, 403, &[]);
    let story = story.asks(0, "DELETE", &url(2)).answers(0, 204, &[]);
    let story = story.fails(0, FailureKind::Hopeless);
    assert_eq!(left(&story), [url(1), url(3)]);
    let parts: Vec<_> = story.succeeds().parts;
    let parts: Vec<_> = parts.iter().map(tus_proto::UploadUrl::expose).collect();
    assert_eq!(parts, [url(1), url(3)]);
    // Whatever one fails of, the next is tried.
    let story = discarding().fails(0, FailureKind::Hopeless);
    let story = story.asks(0, "DELETE", &url(2)).answers(0, 204, &[]);
    let story = story.asks(0, "DELETE", &url(3)).answers(0, 204, &[]);
    assert_eq!(left(&story), [url(1)]);
}

#[test]
fn a_deletion_that_fails_is_tried_again_and_given_up() {
    let story = Several::complete_with(&[5, 5], |config| {
        config.parts.discard = true;
        config.retry.attempts = Some(1);
    });
    let story = story.joined().answers(0, 423, &[]).waits();
    // One that is deleted makes good.
    let story = story.asks(0, "DELETE", &url(1)).answers(0, 204, &[]);
    let story = story.answers(0, 500, &[]).waits().answers(0, 500, &[]);
    assert_eq!(left(&story), [url(2)]);
    assert_eq!(story.succeeds().parts.len(), 1);
}

// All that may have been joined named a part that is gone, and was not complete.
#[test]
fn a_part_that_is_gone_before_it_was_complete_settles_a_doubt() {
    let story = early().loses(0).joins(&[1, 2]).joined();
    assert!(story.checkpoint().to_text().contains("joining yes\n"));
    let story = story
        .confirms(1, 5)
        .sent(2, 2)
        .loses(2)
        .answers(2, 410, &[]);
    let story = story.creates(2);
    assert!(story.checkpoint().to_text().contains("joining no\n"));
    let story = story.confirms(2, 5).joins(&[1, 2]).answers(0, 409, &[]);
    let story = story.waits().finds(2, 5).answers(1, 410, &[]);
    story.posts(1);
}

// A busy server says nothing of the others; one that does not answer, or wants to be left alone, does.
#[test]
fn a_part_that_cannot_be_deleted_in_time_keeps_no_other() {
    let discarding = |attempts, asks: bool| {
        let story = Several::complete_with(&[5, 5, 5], |config| {
            config.parts.discard = true;
            config.retry.attempts = Some(attempts);
            if asks {
                config.authorize = Authorize::When(std::sync::Arc::new(|_| true));
            }
        });
        story.joined().asks(0, "DELETE", &url(1))
    };
    let busy = discarding(1, false).answers(0, 423, &[]).waits();
    let busy = busy.answers(0, 423, &[]).asks(0, "DELETE", &url(2));
    // It has attempts of its own.
    let busy = busy.answers(0, 423, &[]).waits().answers(0, 204, &[]);
    let busy = busy.answers(0, 204, &[]);
    assert_eq!(left(&busy), [url(1)]);
    // So it has where the one before was refused.
    let refused = discarding(1, false).answers(0, 423, &[]).waits();
    let refused = refused.answers(0, 403, &[]).asks(0, "DELETE", &url(2));
    let refused = refused.answers(0, 423, &[]).waits().answers(0, 204, &[]);
    assert_eq!(left(&refused.answers(0, 204, &[])), [url(1)]);
    let declined = discarding(1, true).answers(0, 403, &[]);
    let declined = declined.answers_duty(Answer::Credentials(None));
    let declined = declined.asks(0, "DELETE", &url(2)).answers(0, 204, &[]);
    assert_eq!(left(&declined.answers(0, 204, &[])), [url(1)]);
    let lost = discarding(0, false).loses(0);
    let alone = discarding(1, false).answers(0, 429, &[("retry-after", "3600")]);
    // Found by the simulation: the next part was asked for before that time.
    let soon = discarding(0, false).answers(0, 429, &[("retry-after", "2")]);
    for story in [lost, alone, soon] {
        assert_eq!(left(&story), [url(1), url(2), url(3)]);
        story.succeeds();
    }
}

// A whole that the user wants deleted is no part that may stay.
#[test]
fn a_whole_that_may_not_be_deleted_is_an_error() {
    let story = Several::created_with(&[5, 5], |config| {
        unfinished(config);
        config.authorize = Authorize::When(std::sync::Arc::new(|_| true));
    });
    let story = story.joins(&[1, 2]).joined().cancel(Cancel::Terminate);
    let story = story.asks(0, "DELETE", WHOLE).answers(0, 403, &[]);
    let story = story.answers_duty(Answer::Credentials(None));
    let story = story.answers(1, 204, &[]).answers(2, 204, &[]);
    let error = story.error();
    assert!(
        matches!(&error, Error::Rejected { status, .. } if *status == 403),
        "{error:?}"
    );
}

#[test]
fn any_number_of_parts_is_deleted() {
    let mut story = Several::join_with(&[1; 1_100], |config| {
        config.parts.at_once = 1;
        config.parts.discard = true;
        config.parts.list_limit = usize::MAX;
    });
    for lane in 1..=1_100 {
        story = story.creates(lane).confirms(lane, 1);
    }
    story = story.joined();
    for _ in 1..=1_100 {
        story = story.answers(0, 204, &[]);
    }
    assert!(story.succeeds().parts.is_empty());
}

#[test]
fn a_cancel_leaves_the_parts_and_the_success() {
    for how in [Cancel::Keep, Cancel::Terminate, Cancel::Now] {
        let story = discarding().answers(0, 204, &[]).cancel(how);
        assert_eq!(story.stopped.len(), 1);
        assert_eq!(left(&story), [url(2), url(3)], "{how:?}");
        assert_eq!(story.succeeds().parts.len(), 2);
        // Nor is a deletion begun once it was cancelled.
        let story = Several::complete_with(&[5, 5], |config| config.parts.discard = true);
        let story = story.holding_saves().joined().cancel(how);
        let story = if how == Cancel::Now {
            story
        } else {
            assert!(!story.over());
            story.saved()
        };
        assert_eq!(story.succeeds().parts.len(), 2, "{how:?}");
    }
}

// Cancels.

// What it makes of the question that was out is nowhere to be found.
#[test]
fn a_cancel_tells_of_a_whole_that_may_stay() {
    for how in [Cancel::Keep, Cancel::Terminate, Cancel::Now] {
        assert_eq!(orphans(&asked().cancel(how)), 1, "{how:?}");
        assert_eq!(orphans(&early().cancel(how)), 1, "{how:?}");
        let looked = early().joined().send(&[5, 5]).looks();
        assert_eq!(orphans(&looked.cancel(how)), 0, "{how:?}");
        let waiting = asked().answers(0, 429, &[]);
        assert_eq!(orphans(&waiting.cancel(how)), 0, "{how:?}");
    }
}

/// One story for each stage, and its name.
fn stages() -> Vec<(&'static str, Several)> {
    let holding = |lengths: &[u64]| Several::join(lengths).holding_saves();
    vec![
        ("the first is created", Several::join(&[5, 5])),
        ("it is saved", holding(&[5, 5]).creates(1)),
        ("parts are created", Several::join(&[5, 5]).creates(1)),
        ("parts are sent", Several::created(&[5, 5])),
        ("one is over", Several::created(&[5, 5]).confirms(1, 5)),
        ("one waits", Several::created(&[5, 5]).answers(1, 503, &[])),
        (
            "that they are joined is saved",
            Several::created(&[5, 5]).holding_saves().send(&[5, 5]),
        ),
        ("they are joined", asked()),
        ("they are looked at", asked().loses(0)),
        ("the whole waits for them", early().joined()),
    ]
}

#[test]
fn a_cancel_keeps_what_there_is() {
    for (stage, story) in stages() {
        let mut story = story.cancel(Cancel::Keep);
        while story.is_saving() {
            story = story.saved();
        }
        let kept = story.saves.iter().flatten().count() > 0;
        let error = story.error();
        let Error::Cancelled { terminated, .. } = error else {
            panic!("{stage}: {error:?}")
        };
        assert!(!terminated);
        assert_eq!(error.resumable(), kept, "{stage}");
    }
}

#[test]
fn a_cancel_now_does_nothing_more() {
    for (stage, story) in stages() {
        let (out, saves) = (story.lanes().len(), story.saves.len());
        let story = story.cancel(Cancel::Now);
        assert_eq!(story.stopped.len(), out, "{stage}");
        assert_eq!(story.saves.len(), saves, "{stage}");
        let saving = story.is_saving();
        let (error, story) = story.ends();
        assert!(
            matches!(
                error,
                Error::Cancelled {
                    terminated: false,
                    ..
                }
            ),
            "{stage}: {error:?}"
        );
        // Nobody will hear whether what is being saved is.
        assert_eq!(error.resumable(), saves > 0 && !saving, "{stage}");
        assert!(story.lanes().is_empty());
    }
}

#[test]
fn a_cancel_may_delete_all_there_is() {
    for (stage, story) in stages() {
        let mut exchanges = story.out.values();
        let creates = exchanges.any(|(_, request, _)| request.method() == "POST");
        let mut story = story.cancel(Cancel::Terminate);
        let mut deleted = Vec::new();
        while !story.over() {
            if story.is_saving() {
                story = story.saved();
                continue;
            }
            let lane = *story.lanes().first().expect(stage);
            let request = story.request(lane);
            assert_eq!(request.method(), "DELETE", "{stage}");
            deleted.push(request.uri().to_string());
            story = story.answers(lane, 204, &[]);
        }
        let kept = story.saves.iter().flatten().count() > 0;
        assert_eq!(story.saves.last().is_some_and(Option::is_none), kept);
        let expected: &[String] = match stage {
            "the first is created" => &[],
            "it is saved" | "parts are created" => &[url(1)],
            "the whole waits for them" => &[WHOLE.to_owned(), url(1), url(2)],
            _ => &[url(1), url(2)],
        };
        assert_eq!(deleted, expected, "{stage}");
        // What is in the air may be made after all, and nobody will know where.
        let left = creates || stage == "they are looked at";
        assert_eq!(orphans(&story), usize::from(left), "{stage}");
        let error = story.error();
        let Error::Cancelled { terminated, .. } = error else {
            panic!("{stage}: {error:?}")
        };
        assert_eq!(terminated, !left, "{stage}");
        assert!(!error.resumable());
    }
}

#[track_caller]
fn is_cancelled_and_left(error: &Error) {
    let left = matches!(error, Error::Cancelled { terminated, .. } if !terminated);
    assert!(left, "{error:?}");
}

#[test]
fn what_never_was_is_not_deleted() {
    let story = Several::join(&[5, 5]).answers(1, 429, &[]);
    let error = story.cancel(Cancel::Terminate).error();
    is_cancelled_and_left(&error);
}

// The whole of an earlier run may be there, though its parts are deleted.
#[test]
fn a_whole_that_nobody_knows_of_is_not_deleted() {
    let story = Several::resume(&asked().checkpoint()).cancel(Cancel::Terminate);
    let story = story.answers(1, 204, &[]).answers(2, 204, &[]);
    let error = story.error();
    is_cancelled_and_left(&error);
}

// A server holds on to a part that a whole waits for.
#[test]
fn the_whole_is_deleted_before_its_parts() {
    let story = early().joined().cancel(Cancel::Terminate);
    let story = story.asks(0, "DELETE", WHOLE).answers(0, 204, &[]);
    story.out(&[1, 2]).asks(1, "DELETE", &url(1));
}

#[test]
fn what_cannot_be_deleted_is_told_and_stays_in_the_checkpoint() {
    let story = Several::created(&[5, 5]).cancel(Cancel::Terminate);
    let story = story.answers(1, 403, &[]).answers(2, 204, &[]);
    let error = story.error();
    assert!(
        matches!(error, Error::Rejected { status, .. } if status == 403),
        "{error:?}"
    );
    assert!(error.resumable());
    let story = early().joined().cancel(Cancel::Terminate);
    let story = story.answers(0, 405, &[]).out(&[1, 2]);
    let error = story.answers(1, 204, &[]).answers(2, 403, &[]).error();
    assert_eq!(error.place().url.expose(), WHOLE, "the first error is told");
    // What is deleted does not stay.
    let story = early().joined().cancel(Cancel::Terminate);
    let story = story.answers(0, 204, &[]).answers(1, 204, &[]);
    let text = story.answers(2, 403, &[]).checkpoint().to_text();
    assert!(text.contains(&url(2)), "{text}");
    assert!(!text.contains(&url(1)) && !text.contains(WHOLE), "{text}");
}

#[test]
fn a_deletion_does_not_wait_for_a_busy_server() {
    let story = Several::created(&[5, 5]).answers(1, 503, &[("retry-after", "99")]);
    story.cancel(Cancel::Terminate).out(&[1, 2]);
    // And it has a budget of its own.
    let story = Several::created_with(&[5, 5], |config| {
        config.retry.attempts = Some(1);
    });
    let story = story.loses(1).cancel(Cancel::Terminate);
    let story = story.answers(1, 423, &[]).out(&[2]).answers(2, 204, &[]);
    story.waits().asks(1, "DELETE", &url(1));
}

#[test]
fn at_once_as_many_are_deleted_as_are_sent() {
    let story = Several::join(&[5; 5]).creates(1).creates(2).creates(3);
    let story = story.confirms(1, 5).creates(4).cancel(Cancel::Terminate);
    story.out(&[1, 2, 3]).answers(2, 204, &[]).out(&[1, 3, 4]);
}

// A cancel waits for its checkpoint, and a harder one does not.
#[test]
fn a_refusal_that_is_being_saved_is_told_in_place_of_any_cancel() {
    let story = Several::created(&[5, 5]).sent(1, 5).holding_saves();
    let story = story.answers(1, 422, &[]);
    assert!(story.is_saving());
    let story = story.cancel(Cancel::Keep).cancel(Cancel::Now);
    let (error, _) = story.ends();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
}

#[test]
fn deletions_wait_for_a_busy_server() {
    let story = Several::join_with(&[5; 4], |config| config.parts.at_once = 2);
    let story = story.creates(1).creates(2).confirms(1, 5).creates(3);
    let story = story.confirms(2, 5).creates(4);
    let story = story.cancel(Cancel::Terminate).out(&[1, 2]);
    let story = story.answers(1, 503, &[("retry-after", "60")]);
    let story = story.answers(2, 204, &[]).out(&[]);
    let story = story.after(Duration::from_secs(59)).out(&[]);
    story.after(Duration::from_secs(30)).out(&[1, 3]);
}

#[test]
fn a_later_cancel_may_only_be_harder() {
    let story = Several::created(&[5, 5]).cancel(Cancel::Terminate);
    let story = story.cancel(Cancel::Keep).out(&[1, 2]).cancel(Cancel::Now);
    let (error, story) = story.ends();
    assert!(
        matches!(
            error,
            Error::Cancelled {
                terminated: false,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(story.lanes().is_empty());
    assert!(story.after(Duration::from_secs(999)).lanes().is_empty());
    let story = Several::created(&[5, 5]).sent(1, 5).holding_saves();
    let story = story.cancel(Cancel::Keep);
    assert!(story.is_saving() && !story.over());
    story.cancel(Cancel::Terminate).saved().out(&[1, 2]);
    let story = Several::created(&[5, 5]).sent(1, 5).holding_saves();
    let (error, story) = story.cancel(Cancel::Keep).cancel(Cancel::Now).ends();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    let told = story.events.len();
    let story = story.saved_as(failed(FailureKind::Lost));
    assert!(story.lanes().is_empty());
    assert_eq!(story.events.len(), told, "there is nothing after the end");
    // An end stands while its checkpoint is saved.
    for how in [Cancel::Terminate, Cancel::Now] {
        let story = Several::created(&[5, 5]).sent(1, 2).sent(2, 5);
        let story = story.holding_saves().answers(1, 403, &[]);
        assert!(story.is_saving() && !story.over());
        let mut story = story.cancel(how);
        // The hardest waits for nothing.
        assert_eq!(story.over(), how == Cancel::Now);
        if !story.over() {
            story = story.saved();
        }
        let (error, _) = story.out(&[]).ends();
        assert!(
            matches!(error, Error::Rejected { .. }),
            "{how:?}: {error:?}"
        );
    }
    for how in [Cancel::Keep, Cancel::Now] {
        let story = Several::join(&[5, 5]).creates(1).holding_saves();
        let mut story = story.sent(1, 5).answers(1, 403, &[]).cancel(how);
        while story.is_saving() && !story.over() {
            story = story.saved();
        }
        let (error, _) = story.ends();
        assert!(
            matches!(error, Error::Rejected { .. }),
            "{how:?}: {error:?}"
        );
    }
}

// What was joined is joined, though the cancel comes before the next poll.
#[test]
fn a_cancel_does_not_undo_an_answer_that_came_before_it() {
    for how in [Cancel::Keep, Cancel::Terminate, Cancel::Now] {
        let story = asked();
        let joined = Several::answer(201, &[("location", WHOLE)], "");
        let id = story.id(0);
        let story = story.inputs([Input::Answer(id, joined), Input::Cancel(how)]);
        let (machine, done) = story.done();
        assert_eq!(done.url.expose(), WHOLE, "{how:?}");
        assert_eq!(machine.checkpoint(), None);
    }
    // An early whole is no end. It is known, and kept or deleted.
    let story = early();
    let joined = Several::answer(201, &[("location", WHOLE)], "");
    let id = story.id(0);
    let story = story.inputs([Input::Answer(id, joined), Input::Cancel(Cancel::Keep)]);
    assert!(story.checkpoint().to_text().contains(WHOLE));
    let story = early();
    let joined = Several::answer(201, &[("location", WHOLE)], "");
    let cancel = Input::Cancel(Cancel::Terminate);
    let story = story.inputs([Input::Answer(id, joined), cancel]);
    story.asks(0, "DELETE", WHOLE);
}

// A part that became complete before the cancel is deleted like any other.
#[test]
fn a_part_that_is_complete_by_then_is_deleted_too() {
    let story = Several::created(&[5, 5]);
    let whole = Several::answer(204, &[("upload-offset", "5")], "");
    let id = story.id(1);
    let story = story.inputs([Input::Answer(id, whole), Input::Cancel(Cancel::Terminate)]);
    story.out(&[1, 2]).asks(1, "DELETE", &url(1));
    let story = Several::created(&[5, 5]);
    let failure = Input::Answer(story.id(1), failed(FailureKind::Source));
    let story = story.inputs([failure, Input::Cancel(Cancel::Terminate)]);
    story.out(&[1, 2]).asks(1, "DELETE", &url(1));
}

// R8: a part's refusal stands, though the whole that waited for it looks complete.
#[test]
fn a_refused_part_is_no_success_of_the_whole_in_a_later_run() {
    let story = early().joined().confirms(1, 5).sent(2, 5);
    let (_, story) = story.answers(2, 422, &[]).ends();
    let story = Several::resume_with(&story.checkpoint(), unfinished);
    story.out(&[1, 2]).asks(1, "HEAD", &url(1));
    // What nobody answered is another thing.
    let (_, story) = early()
        .joined()
        .confirms(1, 5)
        .sent(2, 5)
        .loses(2)
        .cancel(Cancel::Keep)
        .ends();
    let story = Several::resume_with(&story.checkpoint(), unfinished).looks();
    assert_eq!(
        story.finds(0, 10).succeeds().completion,
        Completion::Observed
    );
}

// A server that takes no notice of Upload-Concat makes an empty upload.
#[test]
fn a_whole_that_is_not_complete_when_it_is_made_is_looked_at() {
    let fields = |offset| [("location", WHOLE), ("upload-offset", offset)];
    let story = asked().answers(0, 201, &fields("0")).looks();
    assert_eq!(story.checkpoint().url().unwrap().expose(), WHOLE);
    let story = story.finds(0, 4).waits().looks();
    assert_eq!(story.finds(0, 10).succeeds().url.expose(), WHOLE);
    let done = asked().answers(0, 201, &fields("10")).succeeds();
    assert_eq!(done.completion, Completion::Acknowledged);
}

#[test]
fn a_run_that_goes_on_in_doubt_says_so() {
    let story = Several::resume(&asked().checkpoint());
    assert_eq!(orphans(&story), 1);
    let done = verified(story).joins(&[1, 2]).joined().succeeds();
    assert_eq!(done.url.expose(), WHOLE);
}

// What was refused was not begun: a part that is gone in a later run is made anew.
#[test]
fn a_refused_concatenation_leaves_no_doubt() {
    for status in [403, 413, 431, 507] {
        let (error, story) = asked().answers(0, status, &[]).ends();
        assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
        let story = Several::resume(&story.checkpoint());
        assert_eq!(orphans(&story), 0, "{status}");
        let story = story.out(&[1, 2]).answers(1, 410, &[]);
        story.asks(1, "POST", crate::scenario::ENDPOINT);
    }
}

// A transport that follows redirects by itself says so when the server has answered.
#[test]
fn what_a_transport_cannot_do_may_be_done() {
    let story = asked().fails(0, FailureKind::Hopeless);
    assert!(story.checkpoint().to_text().contains("joining yes\n"));
    let story = asked().answers(0, 201, &[("location", WHOLE), ("upload-offset", "0")]);
    let story = story.looks().fails(0, FailureKind::Hopeless);
    assert!(story.checkpoint().to_text().contains("joining no\n"));
}

#[test]
fn no_other_end_settles_a_doubt() {
    let before = verified(asked().loses(0)).answers(0, 403, &[]);
    let unnamed = asked().answers(0, 201, &[]);
    let other = [("location", WHOLE), ("tus-resumable", "0.2.2")];
    for story in [before, unnamed, asked().answers(0, 201, &other)] {
        assert!(story.over());
        let story = Several::resume(&story.checkpoint());
        assert_eq!(orphans(&story), 1);
        let error = story.answers(1, 410, &[]).error();
        assert!(
            matches!(error, Error::CompletionUnknown { .. }),
            "{error:?}"
        );
    }
}

// Found by fuzzing.
#[test]
fn what_is_kept_of_parts_that_are_deleted_is_nothing_to_go_on_from() {
    let story = Several::created(&[5; 3]).cancel(Cancel::Terminate);
    let story = story.holding_saves().answers(1, 204, &[]);
    // What is being saved names the other two.
    assert!(story.is_saving());
    let story = story.answers(2, 204, &[]).answers(3, 204, &[]);
    let story = story.cancel(Cancel::Now).saved();
    let (error, story) = story.ends();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    assert_eq!(error.resumable(), story.machine.checkpoint().is_some());
}
