//! What the adapters of [`tus_proto`] share: the loop that carries out what a machine asks for, the
//! sources that its bytes come from, and the store for checkpoints.
//!
//! Whoever uploads with an adapter such as `tus-ureq` meets [`UploadCall`], the sources
//! ([`FileSource`], bytes, [`SeekSource`], [`ReaderSource`], [`Many`]), [`Store`], [`Canceller`] and
//! [`Error`]. Whoever brings their own HTTP stack implements [`Transport`], one exchange at a time,
//! and gets all of that from a [`Client`]:
//!
//! ```
//! use std::io::{self, Read};
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use tus_driver::{Client, Control, Transport};
//! use tus_proto::{Body, Failure, FailureKind, Terms};
//!
//! /// A server in memory that takes everything.
//! struct Everything;
//!
//! impl Transport for Everything {
//!     fn exchange(
//!         &self,
//!         request: Request<Body>,
//!         _terms: &Terms,
//!         body: &mut dyn Read,
//!         control: &Control,
//!     ) -> Result<Response<Bytes>, Failure> {
//!         let sent = io::copy(&mut control.counted(body), &mut io::sink())
//!             .map_err(|error| Failure::new(FailureKind::Lost, error.to_string()))?;
//!         let answer = match request.method().as_str() {
//!             "OPTIONS" => Response::builder().status(404),
//!             "POST" => Response::builder().status(201).header("location", "/files/1"),
//!             _ => Response::builder().status(204).header("upload-offset", sent.to_string()),
//!         };
//!         Ok(answer.body(Bytes::new()).expect("a good response"))
//!     }
//! }
//!
//! let done = Client::new(Everything)
//!     .upload("http://localhost/files/")
//!     .metadata("filename", "greeting.txt")
//!     .send(Bytes::from_static(b"hello"))?;
//! assert_eq!(done.length, 5);
//! # Ok::<(), tus_driver::Error>(())
//! ```
//!
//! # Threads and tasks
//!
//! There is one loop. Over a [`Transport`] it waits on the thread that called [`run`], and so the
//! machine and the caller's callbacks stay there. Each exchange runs on a thread of its own, which
//! reports through a counter and a channel; so does each reading of a stream, and each computing of a
//! checksum. A stack that cannot be stopped is left behind with its thread: from then on its body ends
//! in an error, and what it answers is ignored. The upload goes on, or ends, without it.
//!
//! With the feature `async`, and over an `AsyncTransport`, the same loop is a future (`run_async`,
//! `AsyncClient`), and exchanges are polled within it. It names no runtime: the transport brings the
//! timer, and the place where files are read. An exchange that is stopped is dropped, and with the
//! future of a call all of it is: nothing more is handed over, and what the [`Store`] has is good to go
//! on from. Callbacks must not wait there, but for `authorize`, which may. Beside the sources above
//! there is `AsyncSource`, of streams and of readers that wait in a task; the feature `tokio` adds
//! tokio's.
//!
//! # What is logged
//!
//! Each step, each answer's status and each retry with its delay, at debug level, by [`tracing`].
//! No header value, no user information and no query of a URL is ever logged.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "async")]
mod answer;
#[cfg(feature = "async")]
mod async_source;
#[cfg(feature = "async")]
mod body;
mod call;
mod cancel;
mod client;
mod control;
mod digest;
mod error;
mod file;
mod mailbox;
mod many;
mod reader;
mod run;
mod source;
mod stack;
mod store;
mod stream;
#[cfg(feature = "async")]
mod tasks;
mod threads;
mod trial;
#[cfg(feature = "async")]
mod unblock;
mod workers;

pub use call::{
    Call, DiscoverCall, Discovering, InspectCall, Inspecting, TerminateCall, Terminating,
    UploadCall, UploadManyCall, Uploading,
};
pub use cancel::Canceller;
pub use client::{Client, ClientOver};
pub use control::{Control, Counted, Transport};
pub use digest::ALGORITHMS;
pub use error::Error;
pub use file::FileSource;
pub use many::Many;
pub use run::{Challenge, OnChallenge, OnEvent, OnRequest, OnResponse, Options, run};
pub use source::{Filled, IntoSource, Source};
pub use stack::Blocking;
pub use store::{Entry, Store, StoreError};
pub use stream::{ReaderSource, SeekSource};
pub use trial::Trial;
pub use workers::BoxFuture;
#[cfg(feature = "async")]
pub use {
    answer::read_answer, async_source::AsyncSource, body::UploadBody, client::AsyncClient,
    run::run_async, stack::Async, tasks::AsyncTransport,
};
