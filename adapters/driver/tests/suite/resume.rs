//! Uploads that go on in a later run.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tus_driver::{Canceller, Client, Error, FileSource, Store, StoreError};
use tus_proto::{Algorithm, Cancel, Event, Failure, FailureKind};
use tus_testkit::{Options, Quirk};

use crate::line::{ENDPOINT, Line, bytes, good, trouble};

struct Place {
    folder: TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("a.bin");
        fs::write(&file, bytes(200_000)).unwrap();
        Self { folder, file }
    }

    fn store(&self) -> Store {
        Store::at(self.folder.path().join("state/tus"))
    }

    fn source(&self) -> FileSource {
        FileSource::open(&self.file).unwrap()
    }

    fn has_checkpoint(&self) -> bool {
        self.store()
            .entry(&self.file, ENDPOINT)
            .unwrap()
            .path()
            .exists()
    }
}

/// A line on which the first run ends for good after 50,000 bytes.
fn broken(options: Options) -> Arc<Line> {
    let cut = trouble(|line, request, body, control| {
        line.serve(request, &mut control.counted(body), 50_000)
    });
    let hopeless = trouble(|_, _, _, _| Err(Failure::new(FailureKind::Hopeless, "no more")));
    Line::to(options, [good(), cut, hopeless])
}

fn send(line: &Arc<Line>, place: &Place) -> Result<tus_proto::Uploaded, Error> {
    line.upload()
        .resume_from(place.store())
        .send(place.source())
}

#[test]
fn a_later_run_goes_on_where_the_server_is() {
    let place = Place::new();
    let line = broken(Options::default());
    let error = send(&line, &place).unwrap_err();
    assert!(
        matches!(&error, Error::Upload(error) if error.resumable()),
        "{error}"
    );
    assert!(place.has_checkpoint());
    send(&line, &place).unwrap();
    assert_eq!(line.content(), bytes(200_000));
    assert_eq!(line.methods(), "POST PATCH HEAD PATCH");
    assert!(!place.has_checkpoint(), "what is done is forgotten");
}

#[test]
fn one_source_of_several_and_that_source_alone_go_on_from_each_other() {
    type Send = fn(&Arc<Line>, &Place) -> Result<tus_proto::Uploaded, Error>;

    let alone = |line: &Arc<Line>, place: &Place| send(line, place);
    let of_several = |line: &Arc<Line>, place: &Place| {
        line.client()
            .upload_many(ENDPOINT, [place.source()])
            .config(|config| config.creation_body = 0)
            .resume_from(place.store())
            .send()
    };
    let ways: [(Send, Send); 2] = [(alone, of_several), (of_several, alone)];
    for (first, then) in ways {
        let place = Place::new();
        let line = broken(Options::default());
        first(&line, &place).unwrap_err();
        then(&line, &place).unwrap();
        assert_eq!(line.content(), bytes(200_000));
        assert_eq!(line.methods(), "POST PATCH HEAD PATCH");
    }
}

#[test]
fn credentials_in_the_endpoint_are_this_runs_and_not_on_disk() {
    let place = Place::new();
    let line = broken(Options {
        quirks: vec![Quirk::Authorization("Basic dXNlcjpzZXNhbWU=".to_owned())],
        ..Options::default()
    });
    let send = || {
        Client::over(Arc::clone(&line) as _)
            .upload("http://user:sesame@server.test/files/")
            .config(|config| config.creation_body = 0)
            .resume_from(place.store())
            .send(place.source())
    };
    send().unwrap_err();
    assert!(place.has_checkpoint());
    for file in fs::read_dir(place.folder.path().join("state/tus")).unwrap() {
        assert!(
            !fs::read_to_string(file.unwrap().path())
                .unwrap()
                .contains("sesame")
        );
    }
    send().unwrap();
    assert_eq!(line.content(), bytes(200_000));
}

#[test]
fn a_changed_file_is_not_resumed_unless_asked_anew() {
    let place = Place::new();
    let line = broken(Options::default());
    send(&line, &place).unwrap_err();
    OpenOptions::new()
        .append(true)
        .open(&place.file)
        .unwrap()
        .write_all(b"more")
        .unwrap();
    let error = send(&line, &place).unwrap_err();
    assert!(
        matches!(error, Error::Upload(tus_proto::Error::SourceChanged { .. })),
        "{error}"
    );
    assert_eq!(line.methods(), "POST PATCH", "no request is made");
    assert!(place.has_checkpoint(), "it stays");

    let uploaded = line
        .upload()
        .resume_from(place.store())
        .fresh()
        .send(place.source())
        .unwrap();
    assert_eq!(uploaded.length, 200_004);
    assert_eq!(line.server().uploads().count(), 2);
}

#[test]
fn a_file_that_changed_and_kept_its_size_is_not_resumed() {
    let place = Place::new();
    let line = broken(Options::default());
    send(&line, &place).unwrap_err();
    // Not by writing to it, for some clocks of file systems are slow.
    let file = OpenOptions::new().append(true).open(&place.file).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified + Duration::from_secs(1))
        .unwrap();
    let error = send(&line, &place).unwrap_err();
    assert!(
        matches!(error, Error::Upload(tus_proto::Error::SourceChanged { .. })),
        "{error}"
    );
    assert_eq!(line.methods(), "POST PATCH", "no request is made");
}

#[test]
fn what_is_begun_anew_is_forgotten_first() {
    let place = Place::new();
    send(&broken(Options::default()), &place).unwrap_err();
    let refuse = trouble(|_, _, _, _| {
        Ok(http::Response::builder()
            .status(403)
            .body(bytes::Bytes::new())
            .unwrap())
    });
    let line = Line::with([refuse]);
    line.upload()
        .resume_from(place.store())
        .fresh()
        .send(place.source())
        .unwrap_err();
    assert!(!place.has_checkpoint());
}

#[test]
fn a_damaged_checkpoint_stops_the_upload_and_stays() {
    let place = Place::new();
    let path = place.store().entry(&place.file, ENDPOINT).unwrap().path();
    fs::write(&path, "tus-checkpoint 1\nrubbish").unwrap();
    let line = Line::good();
    let error = send(&line, &place).unwrap_err();
    assert!(
        matches!(error, Error::Store(StoreError::Damaged { .. })),
        "{error}"
    );
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    assert_eq!(line.methods(), "");
    assert!(path.exists());
    line.upload()
        .resume_from(place.store())
        .fresh()
        .send(place.source())
        .unwrap();
}

// S1: the headers of this run would go to where the checkpoint says.
#[test]
fn a_checkpoint_of_another_endpoint_is_not_followed() {
    let place = Place::new();
    let line = broken(Options::default());
    send(&line, &place).unwrap_err();
    let other = "http://other.test/files/";
    let stolen = place.store().entry(&place.file, ENDPOINT).unwrap().path();
    fs::copy(
        &stolen,
        place.store().entry(&place.file, other).unwrap().path(),
    )
    .unwrap();
    let error = Client::over(Arc::clone(&line) as _)
        .upload(other)
        .resume_from(place.store())
        .send(place.source())
        .unwrap_err();
    assert!(
        matches!(error, Error::Store(StoreError::Mistaken { .. })),
        "{error}"
    );
    assert_eq!(line.methods(), "POST PATCH");
}

#[test]
fn the_checkpoint_is_there_before_the_first_byte() {
    let place = Place::new();
    let store = place.store();
    let file = place.file.clone();
    let look = trouble(move |line, request, body, _| {
        let busy = store.entry(&file, ENDPOINT).unwrap_err();
        let StoreError::Busy { path } = busy else {
            panic!("{busy}")
        };
        let saved = fs::read_to_string(path.with_extension("")).unwrap();
        assert!(saved.contains("\nurl http://server.test/files/"), "{saved}");
        line.serve(request, body, u64::MAX)
    });
    let line = Line::with([good(), look]);
    send(&line, &place).unwrap();
    assert_eq!(line.methods(), "POST PATCH");
}

#[test]
fn a_checkpoint_that_cannot_be_saved_is_an_event() {
    let place = Place::new();
    let folder = place.folder.path().join("state/tus");
    let remove = trouble(move |line, request, body, _| {
        fs::remove_dir_all(&folder).unwrap();
        line.serve(request, body, u64::MAX)
    });
    let line = Line::with([remove]);
    let mut failures = Vec::new();
    line.upload()
        .resume_from(place.store())
        .on_event(|event| {
            if let Event::CheckpointFailed { failure } = event {
                failures.push(failure.to_string());
            }
        })
        .send(place.source())
        .unwrap();
    assert_eq!(line.content(), bytes(200_000));
    assert!(failures[0].starts_with("cannot write "), "{failures:?}");
}

#[test]
fn bytes_have_no_place_in_a_store() {
    let place = Place::new();
    let error = Line::good()
        .upload()
        .resume_from(place.store())
        .send("bytes")
        .unwrap_err();
    assert!(matches!(error, Error::Unnamed), "{error}");
}

#[test]
fn what_cannot_begin_anew_ends_nothing() {
    let place = Place::new();
    send(&broken(Options::default()), &place).unwrap_err();
    let misuse = Line::good()
        .upload()
        .resume_from(place.store())
        .fresh()
        .header("upload-offset", "1")
        .send(place.source())
        .unwrap_err();
    assert!(matches!(misuse, Error::Misuse(_)), "{misuse}");
    assert!(place.has_checkpoint());
}

#[test]
fn what_was_cancelled_before_it_could_begin_anew_ends_nothing() {
    let place = Place::new();
    send(&broken(Options::default()), &place).unwrap_err();
    let canceller = Canceller::new();
    let other = canceller.clone();
    // While it asks what the server offers; then before it asks anything.
    let line = Line::with([trouble(move |line, request, body, _| {
        let answer = line.serve(request, body, u64::MAX);
        other.cancel(Cancel::Keep);
        answer
    })]);
    for _ in 0..2 {
        let error = line
            .upload()
            .config(|config| config.checksums = vec![Algorithm::SHA1])
            .canceller(canceller.clone())
            .resume_from(place.store())
            .fresh()
            .send(place.source())
            .unwrap_err();
        assert!(
            matches!(error, Error::Upload(tus_proto::Error::Cancelled { .. })),
            "{error}"
        );
        assert_eq!(line.methods(), "OPTIONS");
        assert!(place.has_checkpoint());
    }
}
