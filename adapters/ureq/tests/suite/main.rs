//! The client over sockets.

mod exchange;
mod peer;
#[cfg(feature = "rustls")]
mod tls;
mod upload;
