//! Sources that are not what they were, or cannot be read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tempfile::TempDir;
use tus_driver::{Error, FileSource, IntoSource, Source};
use tus_proto::FailureKind;

use crate::line::{Line, bytes, good, trouble};

fn file(length: usize) -> (TempDir, std::path::PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.bin");
    fs::write(&path, bytes(length)).unwrap();
    (folder, path)
}

fn is_source(error: &Error) -> bool {
    matches!(
        error,
        Error::Upload(tus_proto::Error::Source { failure, place })
            if failure.kind == FailureKind::Source && place.resumable
    )
}

fn is_changed(error: &Error) -> bool {
    matches!(error, Error::Upload(tus_proto::Error::SourceChanged { .. }))
}

#[test]
fn files_are_uploaded() {
    let (_folder, path) = file(300_000);
    let line = Line::good();
    line.upload()
        .send(FileSource::open(&path).unwrap())
        .unwrap();
    assert_eq!(line.content(), bytes(300_000));

    let line = Line::good();
    line.upload().send(File::open(&path).unwrap()).unwrap();
    assert_eq!(line.content(), bytes(300_000));
}

#[test]
fn what_has_no_length_is_refused_at_once() {
    let folder = TempDir::new().unwrap();
    let error = FileSource::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("it is a directory"), "{error}");
    assert!(error.contains(folder.path().to_str().unwrap()), "{error}");
    let error = FileSource::open(folder.path().join("none")).unwrap_err();
    assert!(
        matches!(error, Error::Source { source, .. } if source.kind() == io::ErrorKind::NotFound)
    );
    #[cfg(target_os = "linux")]
    {
        // No size, and yet bytes.
        let error = FileSource::open("/proc/cpuinfo").unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        let error = FileSource::open("/dev/null").unwrap_err().to_string();
        assert!(error.contains("not a regular file"), "{error}");
        let Err(error) = File::open("/dev").unwrap().into_source() else {
            panic!("a directory is no source");
        };
        assert!(error.to_string().contains("it is a directory"), "{error}");
    }
}

/// The file is changed in mid-body, before the last of it is read.
fn changed_under_way(change: impl FnOnce(&std::path::Path) + Send + 'static) -> (Error, u64) {
    let (_folder, path) = file(300_000);
    let source = FileSource::open(&path).unwrap();
    let meddle = trouble(move |line, request, body, control| {
        let mut body = control.counted(body);
        let first = line.serve(request, &mut body, 100_000);
        change(&path);
        let rest = io::copy(&mut body, &mut io::sink());
        assert!(rest.is_err(), "{rest:?}");
        first
    });
    let line = Line::with([good(), meddle]);
    let error = line.upload().send(source).unwrap_err();
    assert_eq!(line.methods(), "POST PATCH", "nothing is sent afterwards");
    (error, line.content().len() as u64)
}

#[test]
fn a_file_that_shrinks_has_changed() {
    let (error, there) = changed_under_way(|path| {
        OpenOptions::new()
            .write(true)
            .open(path)
            .unwrap()
            .set_len(150_000)
            .unwrap();
    });
    assert!(is_changed(&error), "{error}");
    assert!(there < 300_000);
}

#[test]
fn a_file_that_grows_has_changed() {
    let (error, there) = changed_under_way(|path| {
        OpenOptions::new()
            .append(true)
            .open(path)
            .unwrap()
            .write_all(b"more")
            .unwrap();
    });
    assert!(is_changed(&error), "{error}");
    assert!(there < 300_000);
}

#[test]
fn a_file_of_the_same_size_and_another_time_has_changed() {
    let (error, _) = changed_under_way(|path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        file.set_modified(before + std::time::Duration::from_nanos(1))
            .unwrap();
    });
    assert!(is_changed(&error), "{error}");
}

#[test]
fn a_file_that_another_takes_the_place_of_is_sent_as_it_was() {
    let (folder, path) = file(300_000);
    let source = FileSource::open(&path).unwrap();
    fs::write(folder.path().join("other"), b"other").unwrap();
    fs::rename(folder.path().join("other"), &path).unwrap();
    let line = Line::good();
    line.upload().send(source).unwrap();
    assert_eq!(line.content(), bytes(300_000));
}

/// A source of 200,000 bytes with something wrong at 100,000.
struct Bad {
    bytes: Vec<u8>,
    at_fault: Option<fn() -> io::Result<usize>>,
    changed: AtomicBool,
    interrupts: AtomicU64,
}

impl Default for Bad {
    fn default() -> Self {
        Self {
            bytes: bytes(200_000),
            at_fault: None,
            changed: false.into(),
            interrupts: 0.into(),
        }
    }
}

impl Source for Bad {
    fn length(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        if self.interrupts.fetch_xor(1, Ordering::SeqCst) == 3 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let end = if at < 100_000 { 100_000 } else { 200_000 };
        match self.at_fault {
            Some(fault) if at >= 100_000 => fault(),
            _ => {
                let from = usize::try_from(at).unwrap();
                (&self.bytes[from..end]).read(buf)
            }
        }
    }

    fn unchanged(&self, _: std::ops::Range<u64>) -> io::Result<bool> {
        Ok(!self.changed.load(Ordering::SeqCst))
    }
}

fn fails(fault: fn() -> io::Result<usize>) -> (Error, Arc<Line>) {
    let line = Line::good();
    let source = Bad {
        at_fault: Some(fault),
        ..Bad::default()
    };
    (line.upload().send(source).unwrap_err(), line)
}

#[test]
fn a_source_that_cannot_be_read_ends_it() {
    let (error, line) = fails(|| Err(io::Error::other("the disk is gone")));
    assert!(is_source(&error), "{error}");
    assert!(
        error
            .to_string()
            .contains("the disk is gone (at byte 100000)"),
        "{error}"
    );
    assert_eq!(line.methods(), "POST PATCH");
    assert_eq!(line.content(), &bytes(200_000)[..100_000]);
}

#[test]
fn a_source_that_ends_early_ends_it() {
    let (error, _) = fails(|| Ok(0));
    assert!(is_source(&error), "{error}");
    assert!(
        error
            .to_string()
            .contains("it ends at byte 100000, before byte 200000"),
        "{error}"
    );
}

#[test]
fn a_source_that_panics_ends_it() {
    let (error, _) = fails(|| panic!("a fault of the source's"));
    assert!(is_source(&error), "{error}");
    assert!(error.to_string().contains("panicked"), "{error}");
}

#[test]
fn a_source_that_lies_ends_it() {
    let (error, _) = fails(|| Ok(usize::MAX));
    assert!(is_source(&error), "{error}");
}

#[test]
fn interruptions_and_short_reads_are_no_failures() {
    let line = Line::good();
    let source = Bad {
        interrupts: AtomicU64::new(2),
        ..Bad::default()
    };
    line.upload().send(source).unwrap();
    assert_eq!(line.content(), bytes(200_000));
}

#[test]
fn the_last_buffer_of_a_changed_source_is_held_back() {
    let line = Line::good();
    let source = Bad {
        changed: true.into(),
        ..Bad::default()
    };
    let error = line.upload().send(source).unwrap_err();
    assert!(is_changed(&error), "{error}");
    assert!(line.content().len() < 200_000);
}

#[test]
fn each_body_has_its_last_buffer() {
    let line = Line::good();
    let source = Bad {
        changed: true.into(),
        ..Bad::default()
    };
    let error = line
        .upload()
        .config(|config| config.request_size = Some(1000))
        .send(source)
        .unwrap_err();
    assert!(is_changed(&error), "{error}");
    assert_eq!(line.content(), b"");
}

#[test]
fn a_failed_source_overrules_what_the_transport_makes_of_it() {
    let cover_up = trouble(|line, request, body, control| {
        let mut body = control.counted(body);
        let _ = line.serve(request, &mut body, u64::MAX);
        // The reader stays as it is.
        assert!(body.read(&mut [0; 1]).is_err());
        Ok(http::Response::builder()
            .status(204)
            .header("upload-offset", "200000")
            .body(bytes::Bytes::new())
            .unwrap())
    });
    let line = Line::with([good(), cover_up]);
    let source = Bad {
        at_fault: Some(|| Err(io::Error::other("the disk is gone"))),
        ..Bad::default()
    };
    let error = line.upload().send(source).unwrap_err();
    assert!(is_source(&error), "{error}");
}
