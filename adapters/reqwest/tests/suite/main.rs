//! The client over sockets.

mod exchange;
mod given;
#[cfg(feature = "http2")]
mod http2;
mod peer;
mod stop;
#[cfg(feature = "rustls")]
mod tls;
mod upload;
