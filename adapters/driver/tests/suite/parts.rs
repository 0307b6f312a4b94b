//! Uploads in parts.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tus_driver::{Canceller, Error, FileSource, ReaderSource, Store, UploadCall};
use tus_proto::{Cancel, Config, Event, Failure, FailureKind, Misuse};
use tus_testkit::{Options, Upload};

use crate::line::{ENDPOINT, Line, bytes, cut, hasty, lost, trouble};

fn parallel<'a>(line: &Arc<Line>, parts: usize) -> UploadCall<'a> {
    line.client()
        .upload(ENDPOINT)
        .config(settle)
        .parallel(parts)
}

fn settle(config: &mut Config) {
    hasty(config);
    config.parts.least = 1_000;
    config.request_size = Some(10_000);
}

fn joined(line: &Line, url: &tus_proto::UploadUrl) -> Vec<u8> {
    let server = line.server();
    let upload = server.upload(&url.expose()).unwrap();
    assert!(upload.is_final() && upload.is_complete());
    upload.content().to_vec()
}

#[test]
fn a_file_in_parts_is_one_file() {
    for parts in [1, 2, 3, 7] {
        let line = Line::good();
        let done = parallel(&line, parts).send(bytes(100_003)).unwrap();
        if parts == 1 {
            assert!(line.content() == bytes(100_003), "one part is no part");
            continue;
        }
        assert!(joined(&line, &done.url) == bytes(100_003), "{parts} parts");
        assert_eq!(done.parts.len(), parts);
        assert_eq!(done.length, 100_003);
        assert_eq!(
            line.server()
                .uploads()
                .filter(|upload| upload.is_partial())
                .count(),
            parts
        );
    }
}

#[test]
fn parts_survive_cuts() {
    let line = Line::with((0..30).map(|n| cut(n * 1_997 % 11_000)));
    let done = parallel(&line, 4)
        .config(|config| config.retry.attempts = None)
        .send(bytes(200_000))
        .unwrap();
    assert!(joined(&line, &done.url) == bytes(200_000));
}

#[test]
fn an_answer_is_read_to_its_end_whatever_another_part_waits_for() {
    let (tell_head, head) = channel();
    let (tell_again, again) = channel();
    let (slow, failing) = (Mutex::new(Some((tell_head, again))), Mutex::new(Some(head)));
    let meet = Arc::new((slow, failing, tell_again));
    // The first part's answer takes its time after the head; meanwhile the second part fails, and waits
    // until it tries again.
    let troubles = (0..6).map(|_| {
        let meet = Arc::clone(&meet);
        trouble(move |line, request, body, control| {
            let (slow, failing, tell_again) = &*meet;
            let (first, empty) = (request.body().start == 0, request.body().is_empty());
            if !empty && !first {
                match failing.lock().unwrap().take() {
                    Some(head) => {
                        head.recv().unwrap();
                        return Err(Failure::new(FailureKind::NotSent, "not yet"));
                    }
                    None => tell_again.send(()).unwrap(),
                }
            }
            let answer = line.serve(request, &mut control.counted(body), u64::MAX)?;
            if empty || !first {
                return Ok(answer);
            }
            let head = answer.map(|_| ());
            control.answered(&head);
            let (tell_head, again) = slow.lock().unwrap().take().unwrap();
            tell_head.send(()).unwrap();
            again.recv().unwrap();
            Ok(head.map(|()| "words".into()))
        })
    });
    let mut words = Vec::new();
    Line::with(troubles)
        .upload()
        .config(|config| config.parts.least = 1)
        .parallel(2)
        .on_response(|response, _| words.extend_from_slice(response.body()))
        .send(bytes(20_000))
        .unwrap();
    assert_eq!(words, b"words");
}

#[test]
fn no_more_run_at_once_than_is_wished() {
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let troubles = (0..60).map(|_| {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        trouble(move |line, request, body, control| {
            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            let answer = line.serve(request, &mut control.counted(body), u64::MAX);
            running.fetch_sub(1, Ordering::SeqCst);
            answer
        })
    });
    let line = Line::with(troubles);
    let done = parallel(&line, 8)
        .config(|config| config.parts.at_once = 2)
        .send(bytes(200_000))
        .unwrap();
    assert!(joined(&line, &done.url) == bytes(200_000));
    let most = most.load(Ordering::SeqCst);
    assert!((1..=2).contains(&most), "{most} at once");
}

#[test]
fn files_are_joined_in_their_order_and_go_on_in_a_later_run() {
    let folder = TempDir::new().unwrap();
    let lengths = [70_000, 0, 5, 40_000];
    let files: Vec<_> = lengths
        .iter()
        .enumerate()
        .map(|(n, length)| {
            let path = folder.path().join(format!("{n}"));
            fs::write(&path, &bytes(110_005)[..*length]).unwrap();
            path
        })
        .collect();
    let expected: Vec<u8> = lengths
        .iter()
        .flat_map(|length| bytes(110_005)[..*length].to_vec())
        .collect();
    let line = Line::good();
    let send = |canceller: Option<Canceller>| {
        let sources = files.iter().map(|path| FileSource::open(path).unwrap());
        let mut call = line
            .client()
            .upload_many(ENDPOINT, sources)
            .config(settle)
            .metadata("filename", "all.bin")
            .resume_from(Store::at(folder.path().join("state")));
        if let Some(canceller) = canceller {
            let other = canceller.clone();
            let on_event = move |event: &Event| {
                if let Event::Confirmed { offset, .. } = event
                    && *offset >= 60_000
                {
                    other.cancel(Cancel::Keep);
                }
            };
            call = call.canceller(canceller).on_event(on_event);
        }
        call.send()
    };
    let error = send(Some(Canceller::new())).unwrap_err();
    assert!(
        matches!(&error, Error::Upload(tus_proto::Error::Cancelled { place, .. }) if place.resumable),
        "{error}"
    );
    let before: u64 = line.server().uploads().map(Upload::offset).sum();
    let done = send(None).unwrap();
    assert!(joined(&line, &done.url) == expected);
    assert_eq!(
        line.server()
            .upload(&done.url.expose())
            .unwrap()
            .metadatum("filename")
            .unwrap(),
        b"all.bin"
    );
    let server = line.server();
    let arrived: u64 = server.log().iter().map(|record| record.body).sum();
    assert_eq!(arrived, expected.len() as u64, "nothing is sent twice");
    assert!(before >= 60_000);
    assert_eq!(server.uploads().count(), lengths.len() + 1);
}

// 23
#[test]
fn a_part_that_is_refused_ends_the_others_with_one_error() {
    let refuse = |line: &Line,
                  request: http::Request<tus_proto::Body>,
                  body: &mut dyn std::io::Read,
                  control: &tus_driver::Control| {
        if request.method() == "PATCH" && request.body().start >= 150_000 {
            let response = http::Response::builder().status(422);
            return Ok(response
                .body(bytes::Bytes::from_static(b"not this"))
                .unwrap());
        }
        line.serve(request, &mut control.counted(body), u64::MAX)
    };
    let line = Line::with((0..200).map(|_| trouble(refuse)));
    let error = parallel(&line, 4).send(bytes(200_000)).unwrap_err();
    assert!(
        matches!(&error, Error::Upload(tus_proto::Error::Rejected { status, .. }) if *status == 422),
        "{error}"
    );
    assert!(line.server().uploads().all(|upload| !upload.is_final()));
}

// 25
#[test]
fn a_lost_concatenation_is_looked_into_and_asked_again() {
    let lose = |line: &Line,
                request: http::Request<tus_proto::Body>,
                body: &mut dyn std::io::Read,
                control: &tus_driver::Control| {
        let is_final = request
            .headers()
            .get("upload-concat")
            .is_some_and(|value| value.as_bytes().starts_with(b"final"));
        let first = line.server().uploads().all(|upload| !upload.is_final());
        let answer = line.serve(request, &mut control.counted(body), u64::MAX);
        if is_final && first {
            Err(lost())
        } else {
            answer
        }
    };
    let line = Line::with((0..200).map(|_| trouble(lose)));
    let mut orphans = 0;
    let done = parallel(&line, 3)
        .on_event(|event| orphans += usize::from(*event == Event::Orphaned))
        .send(bytes(60_000))
        .unwrap();
    assert!(joined(&line, &done.url) == bytes(60_000));
    assert_eq!(orphans, 1);
    assert_eq!(
        line.server()
            .uploads()
            .filter(|upload| upload.is_final())
            .count(),
        2
    );
}

#[test]
fn what_cannot_be_in_parts_is_refused_before_any_request() {
    let line = Line::good();
    let call = |parts| line.client().upload(ENDPOINT).parallel(parts);
    let stream = ReaderSource::new(std::io::empty());
    let errors = [
        call(0).send("hello").unwrap_err(),
        call(2).send(stream).unwrap_err(),
        line.client()
            .append("http://server.test/files/1")
            .parallel(2)
            .send("hello")
            .unwrap_err(),
        line.client()
            .upload_many(ENDPOINT, [] as [&str; 0])
            .send()
            .unwrap_err(),
        call(2)
            .config(|config| config.partial = true)
            .config(settle)
            .send(bytes(50_000))
            .unwrap_err(),
    ];
    for (n, error) in errors.iter().enumerate() {
        let Error::Misuse(misuse) = error else {
            panic!("{n}: {error}");
        };
        let expected = match misuse {
            Misuse::Parts => [0, 3].contains(&n),
            Misuse::Uncuttable(_) => [1, 2].contains(&n),
            Misuse::PartOfParts => n == 4,
            _ => false,
        };
        assert!(expected, "{n}: {error}");
    }
    assert!(
        ["", "OPTIONS"].contains(&&*line.methods()),
        "{}",
        line.methods()
    );
}

#[test]
fn a_server_without_concatenation_is_named() {
    let mut options = Options::default();
    options
        .extensions
        .retain(|extension| extension.name() != "concatenation");
    let line = Line::to(options, []);
    let error = parallel(&line, 2).send(bytes(50_000)).unwrap_err();
    assert!(error.to_string().contains("concatenation"), "{error}");
    assert_eq!(line.methods(), "OPTIONS");
}

#[test]
fn parts_are_deleted_where_that_is_wished() {
    let line = Line::good();
    let done = parallel(&line, 3)
        .config(|config| config.parts.discard = true)
        .send(bytes(60_000))
        .unwrap();
    assert!(done.parts.is_empty());
    assert_eq!(line.server().uploads().count(), 1);
    assert!(joined(&line, &done.url) == bytes(60_000));
}
