//! Resumable uploads ([tus 1.0.0](https://tus.io/protocols/resumable-upload)) as a sans-IO state
//! machine.
//!
//! A [`Machine`] emits [`http::Request`]s and consumes [`http::Response`]s. It creates the upload,
//! asks for the offset, sends the bytes, and recovers from whatever comes between. It has no clock,
//! no randomness, no threads, no sockets and no files: all of these come in as arguments. So it
//! runs in any runtime and over any HTTP stack, and the same inputs give the same outputs, byte for
//! byte.
//!
//! Whoever wants an upload and not a transport takes one of the adapters, `tus-ureq`, `tus-hyper` or
//! `tus-reqwest`, or the `tus` command. The machines are:
//!
//! | | |
//! |---|---|
//! | [`Upload`] | one upload: begun [at an endpoint](Upload::create), [at its URL](Upload::append) or [where an earlier run ended](Upload::resume); of known length or a stream |
//! | [`Parallel`] | several parts at the same time, joined at the end: [one source split](Parallel::split), or [several joined](Parallel::join) |
//! | [`Discover`] | what a server offers |
//! | [`Inspect`] | what it knows of an upload |
//! | [`Create`], [`Concatenate`], [`Terminate`] | one request each, tried again until it is answered |
//!
//! What a server is [known to offer](Config::server) decides what an upload sends: the bytes of a
//! small file along with its creation, which checksum, whether parts can be joined; and what it is
//! known not to offer is refused before any request, with the extension's name.
//!
//! # The contract
//!
//! **Poll until [`Output::Wait`] or [`Output::Done`], carrying out each output; then give it an
//! input or let the time come; poll again.** Nothing else has an order.
//!
//! A [`Duty`] is carried out and answered with its [`DutyId`]. The body of a request is a
//! [range](Body) of the source: the machine never holds a byte of the file, and to try again copies
//! nothing.
//!
//! # A run loop
//!
//! This one does one thing at a time, so there is never anything to [stop](Output::Stop). While it
//! carries out an exchange it does not poll, so the machine can end none, and the limits in [`Terms`] are
//! for its transport to keep; `tus_driver::run` polls meanwhile. One that polls and counts no bytes is
//! granted a [least speed](Timeouts::least_speed). The README has one with its transport.
//!
//! ```
//! use std::time::Instant;
//! use tus_proto::{Answer, Duty, Error, Input, Machine, Output, Tick};
//!
//! fn run<M: Machine>(
//!     mut machine: M,
//!     mut carry_out: impl FnMut(Duty) -> Answer,
//! ) -> Result<M::Success, Error> {
//!     let epoch = Instant::now();
//!     loop {
//!         let now = Tick(epoch.elapsed());
//!         match machine.poll(now) {
//!             Output::Begin(id, duty) => {
//!                 let answer = carry_out(duty);
//!                 machine.handle(Tick(epoch.elapsed()), Input::Answer(id, answer));
//!             }
//!             Output::Stop(_) => (),
//!             Output::Event(event) => eprintln!("{event:?}"),
//!             Output::Wait(Some(until)) => std::thread::sleep(until - now),
//!             Output::Wait(None) => unreachable!("every duty is answered at once"),
//!             Output::Done(result) => return result,
//!         }
//!     }
//! }
//! #
//! # use bytes::Bytes;
//! # use http::{Method, Response};
//! # use tus_proto::{Config, Upload};
//! #
//! # let source = b"hello world";
//! # let mut stored = Vec::new();
//! # let upload = Upload::create("https://example.org/files/", 11, &Config::default())?;
//! # let done = run(upload, |duty| match duty {
//! #     Duty::Exchange(request, _) => {
//! #         let range = request.body().start as usize..request.body().end as usize;
//! #         stored.extend_from_slice(&source[range]);
//! #         let response = match *request.method() {
//! #             Method::POST => Response::builder().status(201).header("location", "/files/a"),
//! #             _ => Response::builder().status(204).header("upload-offset", stored.len()),
//! #         };
//! #         Answer::Response(response.body(Bytes::new()).unwrap())
//! #     }
//! #     _ => Answer::Saved,
//! # });
//! # assert_eq!(done.unwrap().url.expose(), "https://example.org/files/a");
//! # assert_eq!(stored, source);
//! # Ok::<(), tus_proto::Misuse>(())
//! ```
//!
//! # An upload
//!
//! ```text
//! Create ──201, Location──▶ save ──▶ Append ──offset = length──▶ Done
//!   │  ▲                              │  ▲ │
//!   │  └──gone, allowed───────────────┤  │ ├─2xx without offset─────▶ Probe
//!   │                                 │  │ └─lost, 5xx──▶ wait ────▶ Probe
//!   └─transient─▶ wait                │  └───────── offset ───────────┘
//!                                     └─refused──▶ Error, with a checkpoint whenever the URL is good
//! ```
//!
//! What may follow on each request, and on each question to the source (`Digest` with
//! [checksums](Config::checksums), `Read` where its length is unknown), checked against the machine by a
//! test:
//!
//! ```text
//! Append    -> Append, Authorize, Digest, Done, Error, Probe, Read, Terminate
//! Authorize -> Create, Error, Probe, Terminate
//! Create    -> Append, Authorize, Create, Digest, Done, Error, Probe, Read, Terminate
//! Digest    -> Append, Error, Terminate
//! Probe     -> Append, Authorize, Create, Digest, Done, Error, Probe, Read, Terminate
//! Read      -> Append, Create, Digest, Done, Error, Read, Terminate
//! Terminate -> Authorize, Error, Terminate
//! ```
//!
//! The table of every state and every event, with its outcome, is `tests/core/states.txt`.
//!
//! A source of unknown length is asked for its bytes before they are sent ([`Duty::Read`]); the driver
//! keeps one request's worth of them. The server is told the length with the last bytes. Where a lost
//! answer leaves open whether it heard that, a `HEAD` tells; a `400` to the length said again means
//! that it had. Where the server calls the upload complete, because others or an earlier run told it a
//! length, the source is still read to its end: it has to end there.
//!
//! # An upload in parts
//!
//! Each part is an upload on a lane of its own ([`DutyId::lane`]; 0 is the whole's). Some run at once,
//! and a loss, a 429 or a 503 on one holds back all. What must survive of all of them is one
//! checkpoint; credentials obtained for one serve all. When every part is complete, or created where
//! the whole is asked for [early](Parts::unfinished), that they will be joined is saved, and then asked
//! for. If that is lost, or refused because a part is missing, the parts are looked at before it is
//! asked again; a part that is gone by then may have been joined and moved away, and the end is
//! [`Error::CompletionUnknown`]. A part that fails for good ends the others,
//! and there is one error.
//!
//! # What holds
//!
//! - The server ends with exactly the source's bytes, or the caller gets an error; where an upload that
//!   exists is [gone on with](Upload::append), the caller vouches for the bytes that are there. After a
//!   lost exchange only the server's own word counts, so a `HEAD` comes before the next byte.
//! - A success is [acknowledged](Completion::Acknowledged) or [observed](Completion::Observed), and
//!   says which. A refusal that reached the client is never turned into a success. That a server is
//!   busy, or another request has the upload's lock, refuses nothing.
//! - Whatever must survive a restart is [saved](Duty::Save) before anything else of the upload is sent;
//!   of an upload in parts, anything else of that part, and before the parts are joined.
//! - Everything is bounded: attempts, redirects, requests without progress, waits, and, where the
//!   machine is polled while it is out, every exchange.
//! - What the caller's [headers](Config::headers) say goes to the caller's own origin alone, and to
//!   those that it [trusts](Foreign::Trust); nothing is ever sent in the clear that began on https.
//!
//! The simulation in `tus-testkit` checks these: three thousand schedules in each test run, a hundred
//! thousand in `.ci/run`, and as many more as one asks for. The fuzz targets do over whatever a server may
//! say.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod algorithm;
mod call;
mod capabilities;
mod checkpoint;
mod chunk;
mod config;
mod credentials;
mod error;
mod event;
mod joining;
mod lane;
mod line;
mod machine;
mod outage;
mod parallel;
mod resource;
mod retry;
mod supply;
mod tick;
mod transfer;
mod upload;
mod url;
mod verdict;
mod wire;

pub use algorithm::Algorithm;
pub use call::{Concatenate, Create, Discover, Inspect, Inspected, Role, Terminate, Terminated};
pub use capabilities::{Capabilities, Extension};
pub use checkpoint::{Checkpoint, CheckpointError};
pub use config::{
    Authorize, AuthorizePredicate, Config, Parts, RetryPolicy, Timeouts, Veto, VetoPredicate,
};
pub use credentials::{Foreign, Origin, Refusal, is_protocol_field};
pub use error::{
    Cause, Conflict, Deadline, Error, Failure, FailureKind, Hint, Limit, Misuse, Op, Place,
    Violation,
};
pub use event::Event;
pub use machine::{
    Answer, Body, Cancel, Duty, DutyId, Input, MAX_ANSWER_BODY, Machine, Output, Terms,
};
pub use parallel::Parallel;
pub use tick::Tick;
pub use upload::{Completion, Upload, Uploaded};
pub use url::UploadUrl;
pub use wire::date::Date;
pub use wire::metadata::{Metadata, MetadataError};
pub use wire::reference::ReferenceError;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
