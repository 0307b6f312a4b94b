//! The caller ends it.

use tus_proto::{Answer, Authorize, Cancel, Error, Input, Machine};

use crate::scenario::{Scenario, URL};

#[test]
fn keep_stops_at_once_and_leaves_a_checkpoint() {
    let (error, scenario) = Scenario::created(9).sent(4).cancel(Cancel::Keep).ends();
    assert!(
        matches!(
            error,
            Error::Cancelled {
                terminated: false,
                ..
            }
        ) && error.resumable()
    );
    assert_eq!(scenario.stopped.len(), 1);
    Scenario::resume(&scenario.checkpoint())
        .probes()
        .finds(4)
        .appends(4..9);
}

// I11, at every step of a story.
#[test]
fn a_cancel_ends_it_at_any_moment() {
    let story: &[fn() -> Scenario<tus_proto::Upload>] = &[
        || Scenario::create(9),
        || Scenario::create(9).loses(),
        || Scenario::create(9).answers(503, &[]),
        || {
            Scenario::create(9)
                .holding_saves()
                .answers(201, &[("location", "a")])
        },
        || Scenario::created(9),
        || Scenario::created(9).sent(9),
        || Scenario::created(9).answers(409, &[]),
        || Scenario::created(9).answers(409, &[]).finds(0),
        || Scenario::created(9).loses(),
        || Scenario::created(9).holding_saves().confirms(9),
        || Scenario::created(9).holding_saves().answers(500, &[]),
        || Scenario::created(9).holding_saves().answers(422, &[]),
    ];
    for (index, at) in story.iter().enumerate() {
        for how in [Cancel::Keep, Cancel::Terminate, Cancel::Now] {
            let mut scenario = at().cancel(how);
            if how == Cancel::Now {
                assert!(scenario.out.is_none(), "{index}");
            } else {
                while scenario.duty.is_some() {
                    scenario = scenario.saved();
                }
            }
            if scenario.out.is_some() {
                assert_eq!(how, Cancel::Terminate, "{index}");
                scenario = scenario.asks("DELETE", URL).answers(204, &[]);
                while scenario.duty.is_some() {
                    scenario = scenario.saved();
                }
                let error = scenario.error();
                assert!(
                    matches!(
                        error,
                        Error::Cancelled {
                            terminated: true,
                            ..
                        }
                    ) && !error.resumable()
                );
                continue;
            }
            // Not a single output more, whatever comes.
            let late = scenario.cancel(Cancel::Now);
            assert!(
                late.out.is_none() && late.duty.is_none() || how == Cancel::Now,
                "{index}"
            );
        }
    }
}

// D1; §4, 33.
#[test]
fn terminate_deletes_the_upload_and_forgets_it() {
    for status in [204, 200, 404, 410] {
        let (error, scenario) = Scenario::created(9)
            .cancel(Cancel::Terminate)
            .asks("DELETE", URL)
            .with("tus-resumable", "1.0.0")
            .without("content-length")
            .answers(status, &[])
            .ends();
        assert!(
            matches!(
                error,
                Error::Cancelled {
                    terminated: true,
                    ..
                }
            ) && !error.resumable()
        );
        assert_eq!(scenario.saves.last(), Some(&None));
    }
    for status in [409, 423, 429, 500, 503] {
        Scenario::created(9)
            .cancel(Cancel::Terminate)
            .answers(status, &[])
            .waits()
            .asks("DELETE", URL);
    }
    for status in [400, 403, 405, 501] {
        let error = Scenario::created(9)
            .cancel(Cancel::Terminate)
            .answers(status, &[])
            .error();
        assert!(
            matches!(error, Error::Rejected { .. }) && error.resumable(),
            "{status}"
        );
    }
}

#[test]
fn a_later_cancel_may_only_be_harder() {
    let terminating = Scenario::created(9)
        .cancel(Cancel::Terminate)
        .asks("DELETE", URL);
    let terminating = terminating.cancel(Cancel::Keep).asks("DELETE", URL);
    let (error, scenario) = terminating.cancel(Cancel::Now).ends();
    assert!(matches!(
        error,
        Error::Cancelled {
            terminated: false,
            ..
        }
    ));
    assert!(scenario.out.is_none());
}

// Only `Now` does not wait for its checkpoint.
#[test]
fn an_end_stands_while_its_checkpoint_is_saved() {
    let ending = || Scenario::created(9).holding_saves().confirms(9);
    for how in [Cancel::Keep, Cancel::Terminate] {
        let scenario = ending().cancel(how);
        assert!(!scenario.over(), "{how:?}");
        scenario.saved().succeeds();
    }
    ending().cancel(Cancel::Now).succeeds();
}

#[test]
fn a_cancelled_completion_is_unsettled_in_the_next_run() {
    let (_, scenario) = Scenario::created(9).sent(9).cancel(Cancel::Keep).ends();
    let error = Scenario::resume(&scenario.checkpoint())
        .answers(410, &[])
        .error();
    assert!(
        matches!(error, Error::CompletionUnknown { .. }),
        "{error:?}"
    );
}

// §4, 12: stale and unknown answers change nothing.
#[test]
fn late_answers_change_nothing() {
    let scenario = Scenario::created(9).sent(0).sent(4);
    let stale = scenario.id();
    let scenario = scenario.times_out().probes();
    let response = |offset: &str| {
        let mut response = http::Response::new(bytes::Bytes::new());
        response
            .headers_mut()
            .insert("upload-offset", offset.parse().unwrap());
        Answer::Response(response)
    };
    let mut unknown = stale;
    unknown.serial = 10_000;
    scenario
        .input(Input::Answer(stale, response("9")))
        .input(Input::Answer(unknown, response("9")))
        .input(Input::Sent(stale, 9))
        .input(Input::Interim(stale, http::Response::new(())))
        .probes()
        .finds(4)
        .appends(4..9);
}

#[test]
fn a_late_answer_ends_no_other_duty() {
    let created = Scenario::create(9);
    let stale = created.id();
    let saving = created
        .holding_saves()
        .answers(201, &[("location", "a")])
        .input(Input::Answer(stale, Answer::Saved));
    assert!(saving.out.is_none(), "the checkpoint is not durable yet");
    saving.saved().appends(0..9);

    let credentials = || Answer::Credentials(Some(http::HeaderMap::new()));
    let created = Scenario::created_with(9, |config| {
        config.authorize = Authorize::OnUnauthorized;
    });
    let stale = created.id();
    let asking = created
        .answers(401, &[])
        .input(Input::Answer(stale, credentials()));
    assert!(asking.out.is_none(), "there are no credentials yet");
    asking.answers_duty(credentials()).probes();
}

#[test]
fn a_wrong_kind_of_answer_is_a_failed_exchange_and_no_panic() {
    let mut scenario = Scenario::created(9);
    let (id, ..) = scenario.out.take().unwrap();
    scenario.input(Input::Answer(id, Answer::Saved)).probes();
}

#[test]
fn a_checkpoint_that_cannot_be_saved_is_told_and_the_upload_goes_on() {
    let scenario = Scenario::create(9)
        .holding_saves()
        .answers(201, &[("location", "a")])
        .answers_duty(Answer::Failed(tus_proto::Failure::new(
            tus_proto::FailureKind::Lost,
            "disk full",
        )));
    assert_eq!(
        scenario.count(|event| matches!(event, tus_proto::Event::CheckpointFailed { .. })),
        1
    );
    scenario.appends(0..9);
}

// One checkpoint at a time, and nothing is sent meanwhile.
#[test]
fn a_cancel_waits_for_the_checkpoint_that_is_being_saved() {
    let saving = || {
        let created = Scenario::create(9).holding_saves();
        created.answers(201, &[("location", "a")])
    };
    let kept = saving().cancel(Cancel::Keep);
    assert!(kept.out.is_none() && !kept.over());
    let error = kept.saved().error();
    assert!(
        matches!(error, Error::Cancelled { .. }) && error.resumable(),
        "{error:?}"
    );

    let terminated = saving().cancel(Cancel::Terminate);
    assert!(terminated.out.is_none());
    let terminated = terminated
        .saved()
        .asks("DELETE", URL)
        .answers(204, &[])
        .saved();
    assert!(!terminated.error().resumable());

    // A harder one still counts.
    saving()
        .cancel(Cancel::Keep)
        .cancel(Cancel::Terminate)
        .saved()
        .asks("DELETE", URL);
    assert!(saving().cancel(Cancel::Keep).cancel(Cancel::Now).over());
}

// It may be durable by then, or not: nobody will hear.
#[test]
fn a_cancel_now_promises_no_checkpoint_that_is_still_being_saved() {
    let saving = Scenario::create(9).holding_saves();
    let saving = saving.answers(201, &[("location", "a")]);
    let (error, _) = saving.cancel(Cancel::Now).ends();
    assert!(!error.resumable(), "{error:?}");
    let ending = Scenario::created(9).holding_saves().sent(9);
    let (error, _) = ending.answers(422, &[]).cancel(Cancel::Now).ends();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    assert!(!error.resumable(), "{error:?}");
    // What is durable is.
    let saved = Scenario::created(9).sent(9);
    let (error, _) = saved.cancel(Cancel::Now).ends();
    assert!(error.resumable(), "{error:?}");
}

// Whether or not anybody was told of it yet.
#[test]
fn a_cancel_after_the_end_changes_nothing() {
    for how in [Cancel::Keep, Cancel::Terminate, Cancel::Now] {
        let told = Scenario::create(9).answers(403, &[]).cancel(how);
        let (error, told) = told.ends();
        assert!(
            matches!(error, Error::Rejected { .. }),
            "{how:?}: {error:?}"
        );
        assert!(!told.over(), "{how:?}: a second end");
        let mut told = Scenario::create(9);
        let mut refusal = http::Response::new(bytes::Bytes::new());
        *refusal.status_mut() = http::StatusCode::FORBIDDEN;
        let (id, ..) = told.out.take().unwrap();
        let refused = Input::Answer(id, Answer::Response(refusal));
        told.machine.handle(tus_proto::Tick::default(), refused);
        let (error, _) = told.cancel(how).ends();
        assert!(
            matches!(error, Error::Rejected { .. }),
            "{how:?}: {error:?}"
        );
    }
}

// Several inputs may come before the next poll.
#[test]
fn a_cancel_that_is_not_told_yet_becomes_harder() {
    for sent in [3, 9] {
        let mut told = Scenario::created(9).sent(sent);
        let keep = Input::Cancel(Cancel::Keep);
        told.machine.handle(tus_proto::Tick::default(), keep);
        let told = told.cancel(Cancel::Terminate).asks("DELETE", URL);
        let error = told.answers(204, &[]).error();
        assert!(
            matches!(
                error,
                Error::Cancelled {
                    terminated: true,
                    ..
                }
            ),
            "{error:?}"
        );
        let mut told = Scenario::created(9).sent(sent);
        for how in [Cancel::Keep, Cancel::Now] {
            told.machine
                .handle(tus_proto::Tick::default(), Input::Cancel(how));
        }
        let (error, _) = told.cancel(Cancel::Now).ends();
        assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    }
}

/// Created, and nothing of that is told yet.
fn untold() -> tus_proto::Upload {
    let now = tus_proto::Tick::default();
    let config = crate::scenario::config(|_| ());
    let mut upload = tus_proto::Upload::create(crate::scenario::ENDPOINT, 9, &config).unwrap();
    let tus_proto::Output::Begin(id, _) = upload.poll(now) else {
        panic!("a creation")
    };
    let mut response = http::Response::new(bytes::Bytes::new());
    *response.status_mut() = http::StatusCode::CREATED;
    response
        .headers_mut()
        .insert("location", "a".parse().unwrap());
    upload.handle(now, Input::Answer(id, Answer::Response(response)));
    upload
}

#[test]
fn after_a_cancel_now_nothing_is_begun_that_nobody_was_told_of() {
    let now = tus_proto::Tick::default();
    let mut upload = untold();
    upload.handle(now, Input::Cancel(Cancel::Now));
    loop {
        match upload.poll(now) {
            tus_proto::Output::Event(_) => (),
            tus_proto::Output::Done(Err(error)) => break assert!(!error.resumable()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_request_that_nobody_was_told_of_was_not_sent() {
    let now = tus_proto::Tick::default();
    let mut upload = untold();
    // Created, save, appending: the cancel comes while these are told.
    loop {
        match upload.poll(now) {
            tus_proto::Output::Begin(id, _) => upload.handle(now, Input::Answer(id, Answer::Saved)),
            tus_proto::Output::Event(tus_proto::Event::Appending { .. }) => break,
            _ => (),
        }
    }
    upload.handle(now, Input::Cancel(Cancel::Keep));
    let tus_proto::Output::Done(Err(error)) = upload.poll(now) else {
        panic!("the end")
    };
    assert!(error.resumable());
    let checkpoint = upload.checkpoint().unwrap();
    assert!(
        !checkpoint.to_text().contains("ending"),
        "nothing is unsettled"
    );
}

#[test]
fn a_termination_has_a_budget_of_its_own() {
    Scenario::created_with(9, |config| config.retry.attempts = Some(1))
        .loses()
        .cancel(Cancel::Terminate)
        .answers(423, &[])
        .waits()
        .asks("DELETE", URL);
}

#[test]
fn a_checkpoint_that_could_not_be_saved_is_tried_again_and_not_promised() {
    let fail = || {
        Answer::Failed(tus_proto::Failure::new(
            tus_proto::FailureKind::Lost,
            "disk full",
        ))
    };
    let unsaved = Scenario::create(9)
        .holding_saves()
        .answers(201, &[("location", "a")])
        .answers_duty(fail())
        .appends(0..9)
        .cancel(Cancel::Keep);
    let (error, _) = unsaved.answers_duty(fail()).ends();
    assert!(!error.resumable());
    let saved = Scenario::create(9)
        .holding_saves()
        .answers(201, &[("location", "a")])
        .answers_duty(fail())
        .cancel(Cancel::Keep)
        .saved();
    assert!(saved.error().resumable());
}
