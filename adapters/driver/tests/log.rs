//! What is logged. A process of its own, for what subscribers want is kept for all threads.

use std::fs;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tus_driver::{Client, Control, FileSource, Store, Transport};
use tus_proto::{Body, Failure, FailureKind, Terms};

/// What a subscriber wrote.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A server whose upload has a secret in its URL, and which is then gone.
struct Capability;

impl Transport for Capability {
    fn exchange(
        &self,
        request: Request<Body>,
        _: &Terms,
        _: &mut dyn Read,
        _: &Control,
    ) -> Result<Response<Bytes>, Failure> {
        if request.method() == "POST" {
            assert_eq!(request.headers()["authorization"], "Basic dXNlcjpzZXNhbWU=");
            let created = Response::builder()
                .status(201)
                .header("location", "/files/1?signature=sesame");
            Ok(created.body(Bytes::new()).unwrap())
        } else {
            Err(Failure::new(FailureKind::Lost, "the line is cut"))
        }
    }
}

// S3.
#[test]
fn each_step_is_logged_and_no_secret_is() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("a.bin");
    fs::write(&file, "content").unwrap();
    let endpoint = "http://user:sesame@server.test/files/?token=sesame";
    let send = || {
        Client::new(Capability)
            .upload(endpoint)
            .header("x-key", "sesame")
            .metadata("note", "sesame")
            .config(|config| {
                config.retry.attempts = Some(1);
                config.retry.base = Duration::ZERO;
            })
            .resume_from(Store::at(folder.path().join("state")))
            .send(FileSource::open(&file).unwrap())
            .unwrap_err();
    };
    tracing::subscriber::with_default(subscriber, || {
        send();
        send();
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for step in [
        "method=POST",
        "status=201",
        "method=PATCH",
        "retrying",
        "after=",
        "method=HEAD",
        "resuming",
    ] {
        assert!(log.contains(step), "{step} is not in {log}");
    }
    for secret in ["sesame", "c2VzYW1l", "dXNlcjpzZXNhbWU="] {
        assert!(!log.contains(secret), "{secret} is in {log}");
    }
}
