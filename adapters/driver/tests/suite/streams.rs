//! Sources that end where they end.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tus_driver::{
    Canceller, Client, Error, Options, ReaderSource, SeekSource, Source, Transport, UploadCall, run,
};
use tus_proto::{Cancel, Config, Misuse};
use tus_testkit::Quirk;

use crate::line::{ENDPOINT, Line, bytes, cut, hasty};

const KIB: u64 = 1024;

fn upload<'a>(line: &Arc<Line>, size: u64) -> UploadCall<'a> {
    line.client()
        .upload(ENDPOINT)
        .config(move |config: &mut Config| {
            hasty(config);
            config.request_size = Some(size);
        })
}

/// Gives few bytes at a time, as a pipe does.
struct Pipe(Cursor<Vec<u8>>);

impl Read for Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = buf.len().min(7_001);
        self.0.read(&mut buf[..most])
    }
}

fn pipe(length: usize) -> ReaderSource<Pipe> {
    ReaderSource::new(Pipe(Cursor::new(bytes(length))))
}

// 17
#[test]
fn a_stream_arrives_wherever_it_ends() {
    for length in [0, 1, 9_999, 10_000, 10_001, 20_000, 123_456] {
        let line = Line::good();
        upload(&line, 10_000).send(pipe(length)).unwrap();
        assert!(line.content() == bytes(length), "{length} bytes");
        let server = line.server();
        assert!(server.uploads().all(tus_testkit::Upload::is_complete));
    }
}

#[test]
fn a_stream_whose_length_is_known_tells_it() {
    for length in [0, 10_000, 123_456] {
        let line = Line::good();
        let source = pipe(length).with_length(length as u64);
        upload(&line, 10_000).send(source).unwrap();
        assert!(line.content() == bytes(length), "{length} bytes");
        let created = line.server().log()[0].headers.clone();
        assert_eq!(created["upload-length"], length.to_string().as_str());
    }
    for wrong in [0, 9_999, 10_001] {
        let line = Line::good();
        let source = pipe(10_000).with_length(wrong);
        let error = upload(&line, 3_000).send(source).unwrap_err();
        assert!(
            matches!(error, Error::Upload(tus_proto::Error::Source { .. })),
            "{error}"
        );
    }
}

#[test]
fn a_stream_survives_every_cut() {
    let troubles = (0..20).map(|n| cut(n * 997 % 10_000));
    let line = Line::with(troubles);
    upload(&line, 10_000).send(pipe(100_000)).unwrap();
    assert!(line.content() == bytes(100_000));
}

#[test]
fn a_stream_to_who_takes_no_length_later_is_refused_before_it_is_read() {
    let options = tus_testkit::Options {
        extensions: vec![tus_testkit::Extension::Creation],
        ..tus_testkit::Options::default()
    };
    let line = Line::to(options, []);
    let unread = ReaderSource::new(Broken(|| panic!("it is not to be read")));
    let error = upload(&line, 10_000).send(unread).unwrap_err();
    assert!(
        matches!(error, Error::Misuse(Misuse::NotOffered(_))),
        "{error}"
    );
    assert_eq!(line.methods(), "OPTIONS");
}

#[test]
fn a_server_that_lost_what_the_stream_no_longer_has_ends_it() {
    let line = Line::with([
        // OPTIONS, POST, PATCH.
        crate::line::good(),
        crate::line::good(),
        crate::line::good(),
        cut(10),
    ]);
    let server = Arc::clone(&line);
    let error = upload(&line, 10_000)
        .on_event(|event| {
            if let tus_proto::Event::Retrying { .. } = event {
                // From now on it says that it has nothing.
                let lost = Quirk::HeadOffset("0".to_owned());
                server.server().quirks_mut().push(lost);
            }
        })
        .send(pipe(100_000))
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Upload(tus_proto::Error::Unrepeatable {
                offset: 0,
                kept: 10_000,
                ..
            })
        ),
        "{error}"
    );
}

/// A reader that does this.
struct Broken<F>(F);

impl<F: FnMut() -> io::Result<usize>> Read for Broken<F> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        (self.0)()
    }
}

#[test]
fn a_reader_that_fails_or_panics_is_the_sources_fault() {
    let faults: [(Fault, &str); 3] = [
        (
            || Err(io::Error::other("the tape is torn")),
            "the tape is torn",
        ),
        (|| panic!("by design"), "its reader panicked"),
        (|| Ok(usize::MAX), "read more than was asked for"),
    ];
    for (fault, words) in faults {
        let line = Line::good();
        let source = ReaderSource::new(pipe_then(20_000, fault));
        let error = upload(&line, 10_000).send(source).unwrap_err();
        assert!(
            matches!(&error, Error::Upload(tus_proto::Error::Source { failure, .. })
                if failure.message.contains(words)),
            "{error}"
        );
        assert!(line.content() == bytes(20_000), "{words}");
    }
}

type Fault = fn() -> io::Result<usize>;

fn pipe_then(length: usize, fault: Fault) -> impl Read + Send + 'static {
    Cursor::new(bytes(length)).chain(Broken(fault))
}

/// A reader that says when it is read, and then waits until it is let go.
struct Waiting {
    reads: Sender<()>,
    open: Receiver<()>,
}

impl Read for Waiting {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.reads.send(()).unwrap();
        let _ = self.open.recv();
        Ok(0)
    }
}

#[test]
fn a_stream_that_gives_nothing_is_left_when_it_is_cancelled() {
    let ((say, reads), (_let_go, open)) = (channel(), channel());
    let line = Line::good();
    let canceller = Canceller::new();
    let call = upload(&line, 10_000)
        .config(|config| config.creation_body = 0)
        .canceller(canceller.clone());
    let (tell, ended) = channel();
    thread::spawn(move || {
        let _ = tell.send(call.send(ReaderSource::new(Waiting { reads: say, open })));
    });
    reads.recv().unwrap();
    assert_eq!(line.server().uploads().count(), 1);
    canceller.cancel(Cancel::Terminate);
    let ended = ended.recv_timeout(Duration::from_secs(20));
    let error = ended.expect("it waits for the reader").unwrap_err();
    assert!(
        matches!(
            error,
            Error::Upload(tus_proto::Error::Cancelled {
                terminated: true,
                ..
            })
        ),
        "{error}"
    );
    assert_eq!(line.server().uploads().count(), 0);
}

/// Counts what it gave.
struct Counted {
    left: u64,
    given: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = usize::try_from(self.left).map_or(buf.len(), |left| left.min(buf.len()));
        self.left -= read as u64;
        self.given.fetch_add(read as u64, Ordering::SeqCst);
        Ok(read)
    }
}

#[test]
fn no_more_is_read_of_a_stream_than_the_next_request_carries() {
    let given = Arc::new(AtomicU64::new(0));
    let source = ReaderSource::new(Counted {
        left: 1_000 * KIB,
        given: Arc::clone(&given),
    });
    let line = Line::good();
    upload(&line, 100 * KIB)
        .on_event(|event| {
            if let tus_proto::Event::Confirmed { offset, .. } = event {
                let ahead = given.load(Ordering::SeqCst) - offset;
                assert!(ahead <= 100 * KIB, "{ahead} bytes are read ahead");
            }
        })
        .send(source)
        .unwrap();
    assert_eq!(given.load(Ordering::SeqCst), 1_000 * KIB);
}

#[test]
fn a_reader_that_seeks_has_a_length() {
    let line = Line::with([cut(5_000), cut(40_000)]);
    let source = SeekSource::new(Cursor::new(bytes(100_000))).unwrap();
    line.upload().send(source).unwrap();
    assert!(line.content() == bytes(100_000));
    assert_eq!(line.server().log()[0].headers["upload-length"], "100000");
}

#[test]
fn a_stream_goes_to_an_upload_that_waits_for_its_length() {
    let line = Line::good();
    let machine = tus_proto::Create::new(ENDPOINT, None, &Config::default()).unwrap();
    let transport = Arc::clone(&line) as Arc<dyn Transport>;
    let nothing: Arc<dyn Source> = Arc::new("");
    let url = run(machine, &transport, &nothing, &mut Options::default()).unwrap();
    Client::over(Arc::clone(&line) as _)
        .append(url.expose())
        .config(|config| config.request_size = Some(1_000))
        .send(pipe(2_500))
        .unwrap();
    assert!(line.content() == bytes(2_500));
}
