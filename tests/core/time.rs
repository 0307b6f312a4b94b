//! Deadlines, clocks that jump, and the limits of patience: rules R5 and R9.

use std::time::Duration;

use tus_proto::{Answer, Cause, Deadline, Duty, Error, Event, Input, Limit, Machine, Output, Tick};

use crate::scenario::Scenario;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[track_caller]
fn told(scenario: &Scenario<tus_proto::Upload>, deadline: Deadline) {
    let timed_out = |event: &Event| matches!(event, Event::Retrying { cause: Cause::TimedOut(limit), .. } if *limit == deadline);
    assert_eq!(scenario.count(timed_out), 1, "{:?}", scenario.events);
}

#[test]
fn a_request_without_a_body_has_the_connection_and_the_answer_to_wait_for() {
    let scenario = Scenario::create(9);
    assert_eq!(scenario.wait(), secs(30 + 60));
    let scenario = scenario.times_out();
    told(&scenario, Deadline::Answer);
    scenario.asks("POST", crate::scenario::ENDPOINT);
}

// C7; §4, 16.
#[test]
fn a_transport_that_takes_nothing_has_stalled() {
    let scenario = Scenario::created(9).sent(0);
    assert_eq!(scenario.wait(), secs(30 + 60));
    told(&scenario.times_out().probes(), Deadline::Connect);

    let scenario = Scenario::created(9).sent(0).after(secs(89)).sent(1);
    assert_eq!(scenario.wait(), secs(60));
    let scenario = scenario.after(secs(59)).sent(1);
    assert_eq!(
        scenario.wait(),
        secs(1),
        "the same count again is no progress"
    );
    let scenario = scenario.sent(2);
    assert_eq!(scenario.wait(), secs(60));
    told(&scenario.times_out().probes(), Deadline::Stall);

    let scenario = Scenario::created(9).sent(9);
    assert_eq!(scenario.wait(), secs(300), "only while body remains");
    told(&scenario.times_out().probes(), Deadline::Answer);
}

#[test]
fn a_transport_that_does_not_report_is_granted_a_least_speed() {
    let scenario = Scenario::created(16 * 1024 * 100);
    assert_eq!(scenario.wait(), secs(30 + 60 + 100 + 300));
    told(&scenario.times_out().probes(), Deadline::Answer);
}

#[test]
fn an_interim_response_extends_the_wait_once() {
    let interim = |scenario: Scenario<tus_proto::Upload>| {
        let id = scenario.id();
        scenario.input(Input::Interim(id, http::Response::new(())))
    };
    // One that comes with the last byte is not that one.
    let scenario = interim(Scenario::created(9).sent(9));
    let scenario = interim(scenario.after(secs(299)));
    assert_eq!(scenario.wait(), secs(300));
    let scenario = interim(scenario.after(secs(299)));
    assert_eq!(scenario.wait(), secs(1));
}

#[test]
fn counts_never_go_back_or_beyond_the_body() {
    let scenario = Scenario::created(9).sent(5).sent(3).sent(u64::MAX);
    let told: Vec<_> = scenario
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Sent { offset } => Some(*offset),
            _ => None,
        })
        .collect();
    assert_eq!(told, [5, 9]);
}

// R9.
#[test]
fn a_clock_that_goes_back_is_held() {
    let mut scenario = Scenario::created(9).sent(1);
    let before = scenario.wait();
    let _ = tus_proto::Machine::poll(&mut scenario.machine, Tick(Duration::ZERO));
    let scenario = scenario.after(Duration::ZERO);
    assert_eq!(scenario.wait(), before);
}

#[test]
fn a_laptops_sleep_is_one_stall() {
    let scenario = Scenario::created_with(9, |config| {
        config.retry.no_progress = Some(secs(15 * 60));
        config.retry.attempts = Some(1);
    });
    let scenario = scenario.sent(1).after(secs(8 * 3600));
    told(&scenario, Deadline::Stall);
    scenario.probes().finds(1).appends(1..9);
}

#[test]
fn no_progress_for_too_long_ends_it() {
    let mut scenario = Scenario::created_with(9, |config| {
        config.retry.no_progress = Some(secs(15 * 60));
        config.retry.attempts = None;
    });
    let mut waited = Duration::ZERO;
    loop {
        scenario = scenario.answers(503, &[]);
        if scenario.over() {
            break;
        }
        waited += scenario.wait();
        scenario = scenario.waits();
    }
    assert_eq!(
        waited,
        secs(15 * 60),
        "the last attempt is made when the time is over"
    );
    let error = scenario.error();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::NoProgress,
                ..
            }
        ) && error.resumable(),
        "{error:?}"
    );
}

#[test]
fn the_total_deadline_ends_it_in_mid_request() {
    let scenario = Scenario::create_with(9, |config| config.retry.deadline = Some(secs(50)))
        .after(secs(20))
        .answers(201, &[("location", "a")])
        .sent(9);
    assert_eq!(scenario.wait(), secs(30));
    let error = scenario.after(secs(30)).error();
    assert!(
        matches!(
            error,
            Error::Exhausted {
                limit: Limit::Deadline,
                ..
            }
        ) && error.resumable(),
        "{error:?}"
    );
}

#[test]
fn the_same_inputs_give_the_same_outputs() {
    let story = |seed| {
        let scenario = Scenario::created_with(9, |config| config.seed = seed);
        let scenario = scenario.answers(503, &[]).waits().answers(500, &[]).waits();
        format!("{:?}", scenario.events)
    };
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}

// R3: `Sent` decides liveness.
#[test]
fn a_long_upload_that_is_cut_is_not_without_progress() {
    let mut scenario = Scenario::created_with(1 << 40, |config| {
        config.retry.no_progress = Some(secs(15 * 60));
        config.retry.attempts = None;
    });
    for minute in 1..=60 {
        scenario = scenario.after(secs(59)).sent(minute << 30);
    }
    scenario = scenario.loses().probes().finds(0).appends(0..1 << 40);
    for minute in 1..=60 {
        scenario = scenario.after(secs(59)).sent(minute << 30);
    }
    scenario.loses().waits().probes();
}

#[test]
fn no_wait_goes_beyond_the_total_deadline() {
    let until = |seconds| {
        Scenario::created_with(9, move |config| config.retry.deadline = Some(secs(seconds)))
    };
    let error = until(10).answers(503, &[("retry-after", "100")]).error();
    assert!(matches!(error, Error::ComeBackAt { .. }), "{error:?}");
    let scenario = until(100)
        .answers(503, &[])
        .waits()
        .answers(503, &[])
        .after(secs(100));
    let (error, _) = scenario.ends();
    let Error::Exhausted {
        limit: Limit::Deadline,
        cause: Some(cause),
        ..
    } = &error
    else {
        panic!("{error:?}");
    };
    assert!(
        matches!(**cause, Cause::Answered { status, .. } if status == 503),
        "{cause:?}"
    );
}

#[test]
fn what_was_overcome_is_no_cause_of_the_end() {
    let ends = |found| {
        let scenario = Scenario::created_with(1 << 20, |config| {
            config.retry.deadline = Some(secs(100));
        });
        let scenario = scenario.answers(503, &[]).waits().finds(found);
        let scenario = scenario.appends(found..1 << 20).sent(1);
        match scenario.after(secs(100)).error() {
            Error::Exhausted { limit, cause, .. } => (limit, cause.map(|cause| *cause)),
            error => panic!("{error:?}"),
        }
    };
    let busy = |cause| matches!(cause, Some(Cause::Answered { status, .. }) if status == 503);
    let (limit, cause) = ends((64 << 10) - 1);
    assert!(limit == Limit::Deadline && busy(cause));
    assert_eq!(ends(64 << 10), (Limit::Deadline, None));
}

#[test]
fn the_total_deadline_ends_a_question_for_credentials() {
    let scenario = Scenario::created_with(9, |config| {
        config.retry.deadline = Some(secs(100));
        config.authorize = tus_proto::Authorize::OnUnauthorized;
    });
    let scenario = scenario.sent(1).answers(401, &[]);
    assert!(scenario.duty.is_some());
    let scenario = scenario.after(secs(100));
    assert_eq!(scenario.stopped.len(), 1);
    assert!(matches!(
        scenario.error(),
        Error::Exhausted {
            limit: Limit::Deadline,
            ..
        }
    ));
}

#[test]
fn an_interim_response_while_body_remains_extends_nothing() {
    let scenario = Scenario::created(9).sent(5).after(secs(30));
    let id = scenario.id();
    let scenario = scenario.input(Input::Interim(id, http::Response::new(())));
    assert_eq!(scenario.wait(), secs(30));
    let scenario = scenario.sent(9).after(secs(200));
    let scenario = scenario.input(Input::Interim(id, http::Response::new(())));
    assert_eq!(scenario.wait(), secs(300));
}

// A caller may take its time over an event: the request that it explains has not begun.
#[test]
fn the_clock_of_a_request_starts_when_it_is_told() {
    let mut upload =
        tus_proto::Upload::append(crate::scenario::URL, 9, &crate::scenario::config(|_| ()))
            .unwrap();
    let mut now = Tick(secs(1_000));
    let Output::Begin(id, _) = upload.poll(now) else {
        panic!("a HEAD");
    };
    let mut found = http::Response::new(bytes::Bytes::new());
    let fields = [("upload-offset", "0"), ("tus-resumable", "1.0.0")];
    *found.headers_mut() = crate::scenario::headers(&fields);
    upload.handle(now, Input::Answer(id, Answer::Response(found)));
    let id = loop {
        match upload.poll(now) {
            Output::Event(_) => now = now + secs(3_600),
            Output::Begin(id, Duty::Save(_)) => {
                upload.handle(now, Input::Answer(id, Answer::Saved));
            }
            Output::Begin(id, Duty::Exchange(..)) => break id,
            other => panic!("{other:?}"),
        }
    };
    upload.handle(now, Input::Sent(id, 0));
    let Output::Wait(Some(until)) = upload.poll(now) else {
        panic!("it waits for its request");
    };
    assert_eq!(until - now, secs(30 + 60));
}
