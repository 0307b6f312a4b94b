//! How much a stream of unknown length keeps. A process of its own, for everything in it is counted.

use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use peak_alloc::PeakAlloc;
use tus_driver::{Client, Control, ReaderSource, Transport};
use tus_proto::{Body, Failure, FailureKind, Terms};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: u64 = 1 << 20;
const LENGTH: u64 = 100 * MIB;

/// Longer than a piece by a little, and prime: no two pieces of a transfer are alike.
const PERIOD: usize = 65_537;

/// Two periods, so that what begins in one is whole.
fn pattern() -> Arc<[u8]> {
    let byte = |at: usize| u8::try_from((at % PERIOD * 7 + at % PERIOD / 251) % 256).unwrap();
    (0..2 * PERIOD).map(byte).collect()
}

/// What stands at this offset, as far as the pattern goes.
fn at(pattern: &[u8], offset: u64) -> &[u8] {
    let start = usize::try_from(offset % PERIOD as u64).unwrap();
    &pattern[start..start + PERIOD]
}

/// Gives the pattern over and over.
struct Made {
    pattern: Arc<[u8]>,
    at: u64,
}

impl Read for Made {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(LENGTH - self.at).unwrap();
        let read = buf.len().min(left).min(PERIOD);
        buf[..read].copy_from_slice(&at(&self.pattern, self.at)[..read]);
        self.at += read as u64;
        Ok(read)
    }
}

/// A server that keeps no byte, but sees that each is the right one, on a line that is cut in every
/// third request that carries some.
struct Sink {
    pattern: Arc<[u8]>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    offset: u64,
    length: Option<u64>,
    requests: u64,
    cuts: u64,
}

impl Transport for Sink {
    fn exchange(
        &self,
        request: Request<Body>,
        _: &Terms,
        body: &mut dyn Read,
        control: &Control,
    ) -> Result<Response<Bytes>, Failure> {
        let mut state = self.state.lock().unwrap();
        let answer = match request.method().as_str() {
            "OPTIONS" => Response::builder().status(404),
            "POST" => Response::builder()
                .status(201)
                .header("location", "/files/1"),
            "HEAD" => {
                let answer = Response::builder().header("upload-offset", state.offset);
                match state.length {
                    Some(length) => answer.header("upload-length", length),
                    None => answer.header("upload-defer-length", "1"),
                }
            }
            _ => {
                if let Some(length) = request.headers().get("upload-length") {
                    state.length = Some(length.to_str().unwrap().parse().unwrap());
                }
                assert_eq!(request.headers()["upload-offset"], state.offset.to_string());
                let whole = request.body().end - request.body().start;
                state.requests += 1;
                let cut = state.requests.is_multiple_of(3) && whole > 0;
                let most = if cut { whole * 2 / 3 } else { whole };
                let mut body = control.counted(body).take(most);
                let mut piece = [0; 16 << 10];
                loop {
                    match body.read(&mut piece) {
                        Ok(0) => break,
                        Ok(read) => {
                            let expected = &at(&self.pattern, state.offset)[..read];
                            assert!(piece[..read] == *expected, "at {}", state.offset);
                            state.offset += read as u64;
                        }
                        Err(error) => {
                            return Err(Failure::new(FailureKind::Lost, error.to_string()));
                        }
                    }
                }
                if cut {
                    state.cuts += 1;
                    return Err(Failure::new(FailureKind::Lost, "the line is cut"));
                }
                Response::builder()
                    .status(204)
                    .header("upload-offset", state.offset)
            }
        };
        Ok(answer.body(Bytes::new()).unwrap())
    }
}

#[test]
fn a_stream_keeps_one_request_and_less_than_a_mebibyte() {
    let pattern = pattern();
    for size in [64 << 10, MIB, 8 * MIB] {
        let sink = Arc::new(Sink {
            pattern: Arc::clone(&pattern),
            state: Mutex::default(),
        });
        let source = ReaderSource::new(Made {
            pattern: Arc::clone(&pattern),
            at: 0,
        });
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        Client::over(Arc::clone(&sink) as _)
            .upload("http://server.test/files/")
            .config(|config| {
                config.request_size = Some(size);
                config.retry.base = std::time::Duration::from_millis(1);
            })
            .send(source)
            .unwrap();
        let kept = (MEMORY.peak_usage() - before) as u64;
        let state = sink.state.lock().unwrap();
        assert_eq!((state.offset, state.length), (LENGTH, Some(LENGTH)));
        assert!(state.cuts >= LENGTH / size / 3, "{} cuts", state.cuts);
        println!(
            "requests of {size}: {} cuts, at most {kept} bytes, {} beyond one request",
            state.cuts,
            kept.saturating_sub(size)
        );
        assert!(kept <= size + MIB, "{kept} bytes for requests of {size}");
    }
}
