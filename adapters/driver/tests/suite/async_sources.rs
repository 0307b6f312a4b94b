//! Sources that are read in a task, as they come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use tus_driver::{Async, AsyncSource, Client, Error, IntoSource, UploadCall};
use tus_proto::{Algorithm, Misuse};

use crate::line::{ENDPOINT, Line, bytes, hasty};
use crate::wire::{Fate, Wire};

/// Items of growing length, with a pause before each.
struct Items {
    left: Bytes,
    next: usize,
    paused: bool,
    end: Option<io::Error>,
}

impl Items {
    fn of(length: usize) -> Self {
        Self {
            left: bytes(length).into(),
            next: 0,
            paused: false,
            end: None,
        }
    }
}

impl Stream for Items {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.paused = !self.paused;
        if self.paused {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.left.is_empty() {
            return Poll::Ready(self.end.take().map(Err));
        }
        // An empty one now and then, and one that is longer than a piece.
        let length = (self.next * 9_999).min(self.left.len());
        self.next = (self.next + 1) % 9;
        Poll::Ready(Some(Ok(self.left.split_to(length))))
    }
}

fn upload<'a>(wire: &std::sync::Arc<Wire>) -> UploadCall<'a, Async> {
    wire.upload().config(|config| {
        hasty(config);
        config.request_size = Some(70_000);
    })
}

const LENGTHS: [usize; 5] = [0, 1, 70_000, 140_000, 234_567];

#[tokio::test]
async fn whatever_gives_bytes_arrives() {
    for length in LENGTHS {
        let sources: [fn(usize) -> AsyncSource; 3] = [
            |length| AsyncSource::from_stream(Items::of(length)),
            |length| AsyncSource::from_reader(&*bytes(length).leak()),
            |length| AsyncSource::from_tokio(&*bytes(length).leak()),
        ];
        for source in sources {
            let wire = Wire::good();
            upload(&wire).send(source(length)).await.unwrap();
            assert!(wire.content() == bytes(length), "{length} bytes");
            let created = wire.server().log()[1].headers.clone();
            assert_eq!(created["upload-defer-length"], "1");
        }
    }
}

#[tokio::test]
async fn a_length_that_is_known_is_told() {
    for length in LENGTHS {
        let wire = Wire::good();
        let source = AsyncSource::from_stream(Items::of(length)).with_length(length as u64);
        upload(&wire).send(source).await.unwrap();
        assert!(wire.content() == bytes(length), "{length} bytes");
        let created = wire.server().log()[0].headers.clone();
        assert_eq!(created["upload-length"], length.to_string().as_str());
    }
}

// 19
#[tokio::test]
async fn a_length_that_is_wrong_ends_it() {
    for length in [99_999, 100_001] {
        let wire = Wire::good();
        let source = AsyncSource::from_stream(Items::of(100_000)).with_length(length);
        let error = upload(&wire).send(source).await.unwrap_err();
        assert!(
            matches!(error, Error::Upload(tus_proto::Error::Source { .. })),
            "{error}"
        );
        let server = wire.server();
        assert!(server.uploads().all(|upload| !upload.is_complete()));
    }
}

#[tokio::test]
async fn a_stream_survives_cuts() {
    let cuts = (0..12).map(|n| Fate::Cut(n * 9_973));
    let wire = Wire::with(cuts);
    upload(&wire)
        .config(|config| config.checksums = vec![Algorithm::SHA1])
        .send(AsyncSource::from_stream(Items::of(400_000)))
        .await
        .unwrap();
    assert!(wire.content() == bytes(400_000));
}

#[tokio::test]
async fn a_stream_that_fails_ends_the_upload() {
    struct Panics;
    impl Stream for Panics {
        type Item = io::Result<Bytes>;
        fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            panic!("by design")
        }
    }
    let mut torn = Items::of(100_000);
    torn.end = Some(io::Error::other("torn"));
    for (source, words) in [
        (AsyncSource::from_stream(torn), "torn"),
        (AsyncSource::from_stream(Panics), "its reader panicked"),
    ] {
        let error = upload(&Wire::good()).send(source).await.unwrap_err();
        assert!(
            matches!(error, Error::Upload(tus_proto::Error::Source { .. })),
            "{error}"
        );
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn what_is_read_once_is_not_cut_into_parts() {
    let source = || AsyncSource::from_stream(Items::of(10)).with_length(10);
    let wire = Wire::good();
    let error = upload(&wire).parallel(2).send(source()).await.unwrap_err();
    assert!(
        matches!(error, Error::Misuse(Misuse::Uncuttable(_))),
        "{error}"
    );
    let many = wire.client().upload_many(ENDPOINT, [source()]);
    let error = many.send().await.unwrap_err();
    assert!(
        matches!(error, Error::Misuse(Misuse::Uncuttable(_))),
        "{error}"
    );
}

#[test]
fn a_client_that_blocks_says_that_it_cannot_read_it() {
    let line = Line::good();
    let client: Client = line.client();
    let source = AsyncSource::from_stream(Items::of(10))
        .into_source()
        .unwrap();
    let error = client.upload(ENDPOINT).send(source).unwrap_err();
    assert!(error.to_string().contains("futures"), "{error}");
    assert_eq!(line.methods(), "", "nothing is sent before");
}
