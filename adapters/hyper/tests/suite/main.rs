//! The client over sockets.

mod exchange;
mod http2;
mod peer;
mod stop;
#[cfg(feature = "rustls")]
mod tls;
mod upload;
