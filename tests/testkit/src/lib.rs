//! What a [tus](https://tus.io) client is tested against.
//!
//! - [`Server`] is a strict tus 1.0.0 server without I/O: a request goes in, a response comes out,
//!   or a body goes in piece by piece and may break off. It has every [`Extension`], each of which can
//!   be left out: creation with a body and with a length that comes later, expiration by a clock that
//!   the test sets, checksums before and after the body, termination, concatenation of finished and
//!   unfinished parts. [`Quirk`]s make it behave like the less strict servers that are out there, and
//!   its [log](Server::log) says what the client did.
//! - [`Fault`] is what can happen to one exchange, [`FaultPlan`] to a run of them, by script or by
//!   seed; [`Server::exchange`] carries both out in memory, and [`VirtualClock`] gives such a
//!   simulation its time.
//! - [`Loopback`] is the same server on a port of 127.0.0.1, [`Proxy`] a line to any server that
//!   resets, stalls and loses answers at given byte counts, and can hold up every piece, and [`Scripted`]
//!   a peer that says exactly the bytes it was told to, for all that no HTTP server would do.
//! - `conformance` (a feature) is the suite that every transport must pass, over HTTP/1.1 and HTTP/2, in
//!   the clear and over TLS: it takes a `Subject` and gives a `Report`.
//! - `simulation` (another) is a client and a server under virtual time, in which a seed decides
//!   everything and every rule of a correct client is checked; it takes machines that wrap the crate's own.
//!   `fuzzing` (a third) is what the fuzz targets do with a fuzzer's bytes.
//!
//! Sockets are served by plain threads, which end when their owner is dropped; nothing here is
//! asynchronous, unless the feature `conformance` brings HTTP/2: then a `Stage` plays any answer for
//! a request, and a `Loopback` serves, over HTTP/1.1 and HTTP/2, in the clear and over TLS.
//!
//! # In memory
//!
//! ```
//! use bytes::Bytes;
//! use http::Request;
//! use tus_testkit::{Options, Server};
//!
//! let mut server = Server::new(Options::default());
//!
//! let create = Request::post("/files/")
//!     .header("Tus-Resumable", "1.0.0")
//!     .header("Content-Length", "0")
//!     .header("Upload-Length", "5")
//!     .body(Bytes::new())
//!     .unwrap();
//! let created = server.handle(create);
//! assert_eq!(created.status(), 201);
//! let location = created.headers()["location"].to_str().unwrap();
//!
//! let append = Request::patch(location)
//!     .header("Tus-Resumable", "1.0.0")
//!     .header("Content-Length", "5")
//!     .header("Content-Type", "application/offset+octet-stream")
//!     .header("Upload-Offset", "0")
//!     .body(Bytes::from_static(b"hello"))
//!     .unwrap();
//! assert_eq!(server.handle(append).status(), 204);
//! assert_eq!(server.upload(location).unwrap().content(), b"hello");
//! ```
//!
//! # On a socket, behind a line that breaks
//!
//! ```
//! use tus_testkit::{ProxyPlan, Loopback, Options, Proxy, Server, Trouble};
//!
//! let loopback = Loopback::start(Server::new(Options::default()));
//! let proxy = Proxy::start(
//!     loopback.address(),
//!     ProxyPlan { troubles: vec![(100_000, Trouble::Reset), (300_000, Trouble::Reset)], ..ProxyPlan::default() },
//! );
//! let endpoint = proxy.url("/files/");
//! // … upload to `endpoint`, then look at `loopback.server()` and `proxy.cuts()`.
//! # drop(endpoint);
//! ```

#[cfg(feature = "conformance")]
mod carrier;
#[cfg(feature = "conformance")]
pub mod conformance;
mod date;
mod fault;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod http1;
#[cfg(feature = "conformance")]
mod http2;
mod location;
mod loopback;
mod names;
mod port;
mod proxy;
mod quirk;
mod scripted;
mod server;
mod serving;
#[cfg(feature = "simulation")]
pub mod simulation;
#[cfg(feature = "conformance")]
mod stage;
mod time;
mod upload;

#[cfg(feature = "conformance")]
pub use carrier::{Authority, Carrier};
pub use fault::{Ending, Fault, FaultPlan, Outcome, Rates, Reach, SplitMix64};
pub use location::Location;
pub use loopback::{Loopback, Refusing};
pub use proxy::{Proxy, ProxyPlan, Trouble};
pub use quirk::Quirk;
pub use scripted::{Scripted, Step};
pub use server::{Begun, Extension, Options, Reading, Record, Server, Trailers, checksum};
#[cfg(feature = "conformance")]
pub use stage::{Act, End, Seen, Stage};
pub use time::VirtualClock;
pub use upload::Upload;
