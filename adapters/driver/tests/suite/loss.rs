//! Exchanges that fail, hang, panic, or are stopped.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use http::Response;
use tus_driver::{Canceller, Error};
use tus_proto::{Cancel, Completion, Event, Failure, FailureKind};

use crate::line::{Line, bytes, good, hang, lost, trouble};

#[test]
fn an_upload_succeeds() {
    let line = Line::good();
    let events = Mutex::new(Vec::new());
    let done = line
        .upload()
        .metadata("filename", "a.bin")
        .header("x-key", "secret")
        .on_event(|event| events.lock().unwrap().push(event.clone()))
        .send(bytes(200_000))
        .unwrap();
    assert_eq!(done.length, 200_000);
    assert_eq!(done.completion, Completion::Acknowledged);
    assert_eq!(line.content(), bytes(200_000));
    assert_eq!(line.methods(), "POST PATCH");
    let server = line.server();
    assert!(
        server
            .log()
            .iter()
            .all(|record| record.headers["x-key"] == "secret")
    );
    assert_eq!(
        server.log()[0].headers["upload-metadata"],
        "filename YS5iaW4="
    );
    let events = events.into_inner().unwrap();
    assert!(
        matches!(events.first(), Some(Event::Created { .. })),
        "{events:?}"
    );
    assert!(
        events.contains(&Event::Sent { offset: 200_000 }),
        "{events:?}"
    );
    assert!(events.contains(&Event::Confirmed {
        offset: 200_000,
        length: Some(200_000)
    }));
}

#[test]
fn an_empty_source_succeeds() {
    let line = Line::good();
    line.upload().send("").unwrap();
    assert_eq!(line.content(), b"");
}

#[test]
fn a_lost_exchange_is_followed_from_where_the_server_is() {
    let cut = trouble(|line, request, body, control| {
        line.serve(request, &mut control.counted(body), 70_000)
    });
    let line = Line::with([good(), cut]);
    line.upload().send(bytes(200_000)).unwrap();
    assert_eq!(line.content(), bytes(200_000));
    assert_eq!(line.methods(), "POST PATCH HEAD PATCH");
    assert_eq!(line.server().log()[3].headers["upload-offset"], "70000");
}

#[test]
fn a_transport_that_panics_is_a_loss() {
    let line = Line::with([
        good(),
        trouble(|_, _, _, _| panic!("a fault of the transport's")),
    ]);
    let mut retries = Vec::new();
    line.upload()
        .on_event(|event| {
            if let Event::Retrying { cause, .. } = event {
                retries.push(cause.to_string());
            }
        })
        .send(bytes(10))
        .unwrap();
    assert_eq!(line.content(), bytes(10));
    assert_eq!(
        retries,
        ["the transport panicked; please report this as a bug"]
    );
}

#[test]
fn a_stalled_exchange_is_stopped_and_the_upload_goes_on() {
    let (hang, trouble) = hang(50_000);
    let line = Line::with([good(), trouble]);
    line.upload()
        .config(|config| config.timeouts.stall = Duration::from_millis(50))
        .send(bytes(200_000))
        .unwrap();
    // It is still hanging, and nobody waits for it.
    assert_eq!(line.content(), bytes(200_000));
    hang.end.send(()).unwrap();
    assert_eq!(hang.after.recv().unwrap(), "the exchange was stopped");
}

#[test]
fn a_transport_hears_that_it_is_stopped() {
    let (tell, told) = channel();
    let stall = trouble(move |_, _, body, control| {
        let _: Option<u8> = control.counted(body).bytes_taken();
        let (stop, stopped) = channel();
        control.on_stop(move || stop.send(()).unwrap());
        stopped.recv().unwrap();
        assert!(control.stopped());
        // Too late to be kept for later: it runs at once.
        control.on_stop(move || tell.send(()).unwrap());
        Err(lost())
    });
    let line = Line::with([good(), stall]);
    line.upload()
        .config(|config| config.timeouts.stall = Duration::from_millis(50))
        .send(bytes(10))
        .unwrap();
    told.recv().unwrap();
}

trait Taken {
    fn bytes_taken(&mut self) -> Option<u8>;
}

impl<R: std::io::Read> Taken for R {
    fn bytes_taken(&mut self) -> Option<u8> {
        let mut byte = [0];
        self.read_exact(&mut byte).ok().map(|()| byte[0])
    }
}

#[test]
fn what_was_to_be_stopped_is_not_once_the_exchange_has_returned() {
    let (tell, told) = channel::<()>();
    let (go, wait) = channel();
    let early = trouble(move |line, request, body, control| {
        control.on_stop(move || tell.send(()).unwrap());
        let answer = line.serve(request, &mut control.counted(body), u64::MAX);
        wait.recv().unwrap();
        answer
    });
    let line = Line::with([good(), early]);
    let canceller = Canceller::new();
    line.upload()
        .canceller(canceller.clone())
        .on_event(move |event| {
            if matches!(event, Event::Sent { .. }) && canceller.cancelled().is_none() {
                go.send(()).unwrap();
                // The exchange returns, and the driver does not know it yet.
                let told = told.recv_timeout(Duration::from_secs(20));
                assert_eq!(
                    told,
                    Err(RecvTimeoutError::Disconnected),
                    "dropped, not run"
                );
                canceller.cancel(Cancel::Keep);
            }
        })
        .send(bytes(10))
        .unwrap_err();
}

#[test]
fn a_caller_that_takes_its_time_does_not_cost_an_attempt() {
    let (tell, told) = channel::<()>();
    let (go, wait) = channel();
    let prompt = trouble(move |line, request, body, control| {
        control.on_stop(move || tell.send(()).unwrap());
        let answer = line.serve(request, &mut control.counted(body), u64::MAX);
        wait.recv().unwrap();
        answer
    });
    let line = Line::with([good(), prompt]);
    line.upload()
        .config(|config| config.timeouts.answer_to_body = Duration::from_millis(50))
        .on_event(move |event| {
            if matches!(event, Event::Sent { .. }) {
                go.send(()).unwrap();
                let _ = told.recv_timeout(Duration::from_secs(20));
                // The answer is sent by now; its time passes before anyone looks.
                thread::sleep(Duration::from_millis(100));
            }
        })
        .send(bytes(10))
        .unwrap();
    assert_eq!(line.methods(), "POST PATCH");
}

#[test]
fn a_cancel_ends_a_hanging_upload_at_once() {
    for how in [Cancel::Keep, Cancel::Now] {
        let (hang, trouble) = hang(50_000);
        let line = Line::with([good(), trouble]);
        let canceller = Canceller::new();
        let result = thread::scope(|scope| {
            let upload = scope.spawn(|| {
                line.upload()
                    .canceller(canceller.clone())
                    .send(bytes(200_000))
            });
            hang.begun.recv().unwrap();
            canceller.cancel(how);
            upload.join().unwrap()
        });
        assert!(
            matches!(
                result,
                Err(Error::Upload(tus_proto::Error::Cancelled { .. }))
            ),
            "{result:?}"
        );
        hang.end.send(()).unwrap();
        assert_eq!(hang.after.recv().unwrap(), "the exchange was stopped");
    }
}

#[test]
fn a_cancel_wakes_a_driver_that_has_nothing_to_look_at() {
    let (hang, trouble) = hang(0);
    let line = Line::with([trouble]);
    let canceller = Canceller::new();
    let (tell, ended) = channel();
    let other = canceller.clone();
    // Without a body there is nothing to count, and the answer has a minute.
    thread::spawn(move || {
        let _ = tell.send(line.upload().canceller(other).send(bytes(10)));
    });
    hang.begun.recv().unwrap();
    canceller.cancel(Cancel::Keep);
    ended
        .recv_timeout(Duration::from_secs(20))
        .unwrap()
        .unwrap_err();
}

#[test]
fn a_cancel_may_terminate_and_grow_harder() {
    let (first, trouble) = hang(0);
    let (second, harder) = hang(0);
    let line = Line::with([good(), trouble, harder]);
    let canceller = Canceller::new();
    let result = thread::scope(|scope| {
        let upload = scope.spawn(|| line.upload().canceller(canceller.clone()).send(bytes(10)));
        first.begun.recv().unwrap();
        canceller.cancel(Cancel::Terminate);
        // The DELETE hangs, too.
        second.begun.recv().unwrap();
        canceller.cancel(Cancel::Keep);
        assert_eq!(canceller.cancelled(), Some(Cancel::Terminate));
        canceller.cancel(Cancel::Now);
        upload.join().unwrap()
    });
    assert!(
        matches!(
            result,
            Err(Error::Upload(tus_proto::Error::Cancelled {
                terminated: false,
                ..
            }))
        ),
        "{result:?}"
    );
    drop((first, second));

    let line = Line::good();
    let canceller = Canceller::new();
    let result = line
        .upload()
        .canceller(canceller.clone())
        .on_event(|event| {
            if matches!(event, Event::Appending { .. }) {
                canceller.cancel(Cancel::Terminate);
            }
        })
        .send(bytes(10));
    assert!(
        matches!(
            result,
            Err(Error::Upload(tus_proto::Error::Cancelled {
                terminated: true,
                ..
            }))
        ),
        "{result:?}"
    );
}

#[test]
fn a_call_that_was_cancelled_before_makes_no_request() {
    let line = Line::good();
    let canceller = Canceller::new();
    canceller.cancel(Cancel::Keep);
    line.upload()
        .canceller(canceller)
        .send(bytes(10))
        .unwrap_err();
    assert_eq!(line.methods(), "");
}

// PROTOCOL §4, 35: it is no network error, and nothing is tried again.
#[test]
fn a_callback_that_panics_leaves_nothing_running() {
    let (hang, trouble) = hang(100);
    let line = Line::with([good(), trouble]);
    let line = Arc::clone(&line);
    let result = catch_unwind(AssertUnwindSafe(|| {
        line.upload()
            .on_event(|event| {
                if matches!(event, Event::Sent { .. }) {
                    panic!("a fault of the caller's");
                }
            })
            .send(bytes(200))
    }));
    assert!(result.is_err());
    drop(hang.end);
    assert_eq!(hang.after.recv().unwrap(), "the exchange was stopped");
}

#[test]
fn a_refusal_is_the_end() {
    let refuse = trouble(|_, _, _, _| {
        Ok(Response::builder()
            .status(403)
            .body("not for you".into())
            .unwrap())
    });
    let error = Line::with([refuse]).upload().send(bytes(1)).unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
    assert!(error.to_string().contains("not for you"), "{error}");
}

#[test]
fn the_budget_is_the_machines() {
    let refused = || Failure::new(FailureKind::NotSent, "the connection was refused");
    let line = Line::with((0..10).map(|_| trouble(move |_, _, _, _| Err(refused()))));
    let error = line
        .upload()
        .config(|config| config.retry.attempts = Some(3))
        .send(bytes(1))
        .unwrap_err();
    assert!(
        matches!(error, Error::Upload(tus_proto::Error::Exhausted { .. })),
        "{error}"
    );
}

// R8: a refusal whose words never come is a refusal, however short the limits are.
#[test]
fn an_answer_whose_body_never_comes_is_an_answer() {
    let (end, wait) = channel::<()>();
    let dangling = trouble(move |line, request, body, control| {
        line.serve(request, &mut control.counted(body), u64::MAX)?;
        let mut head = http::Response::new(());
        *head.status_mut() = http::StatusCode::UNPROCESSABLE_ENTITY;
        control.answered(&head);
        let _ = wait.recv();
        Err(lost())
    });
    let line = Line::with([good(), dangling]);
    let error = line
        .upload()
        .config(|config| config.timeouts.answer_to_body = Duration::from_millis(50))
        .send(bytes(10))
        .unwrap_err();
    assert!(
        matches!(&error, Error::Upload(tus_proto::Error::Rejected { status, .. }) if *status == 422),
        "{error:?}"
    );
    drop(end);
}

#[test]
fn an_answer_whose_body_fails_is_an_answer() {
    let cut = trouble(|line, request, body, control| {
        line.serve(request, &mut control.counted(body), u64::MAX)?;
        let mut head = http::Response::new(());
        *head.status_mut() = http::StatusCode::UNPROCESSABLE_ENTITY;
        control.answered(&head);
        Err(lost())
    });
    let line = Line::with([good(), cut]);
    let error = line.upload().send(bytes(10)).unwrap_err();
    assert!(
        matches!(&error, Error::Upload(tus_proto::Error::Rejected { status, .. }) if *status == 422),
        "{error:?}"
    );
}
