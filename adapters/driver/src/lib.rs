//! What the blocking adapters of [`tus_proto`] share: the loop that carries out what a machine asks
//! for, the sources that its bytes come from, and the store for checkpoints.
//!
//! Whoever uploads with an adapter such as `tus-ureq` meets [`UploadCall`], the sources
//! ([`FileSource`], bytes, [`SeekSource`], [`StreamSource`], [`Many`]), [`Store`], [`Canceller`] and
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
//! # Threads
//!
//! The machine stays on the thread that called [`run`], and so do the caller's callbacks. Each
//! exchange runs on a thread of its own, which reports through a counter and a channel; so does each
//! reading of a stream, and each computing of a checksum. A stack that cannot be stopped is left behind
//! with its thread: from then on its body ends in an error, and what it answers is ignored. The
//! upload goes on, or ends, without it.
//!
//! # What is logged
//!
//! Each step, each answer's status and each retry with its delay, at debug level, by [`tracing`].
//! No header value, no user information and no query of a URL is ever logged.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod call;
mod cancel;
mod client;
mod control;
mod digest;
mod error;
mod file;
mod many;
mod reader;
mod run;
mod source;
mod store;
mod stream;

pub use call::{
    Call, DiscoverCall, Discovering, InspectCall, Inspecting, TerminateCall, Terminating,
    UploadCall, UploadManyCall, Uploading,
};
pub use cancel::Canceller;
pub use client::Client;
pub use control::{Control, Counted, Transport};
pub use digest::ALGORITHMS;
pub use error::Error;
pub use file::FileSource;
pub use many::Many;
pub use run::{Challenge, Options, run};
pub use source::{Filled, IntoSource, Source};
pub use store::{Entry, Store, StoreError};
pub use stream::{SeekSource, StreamSource};
