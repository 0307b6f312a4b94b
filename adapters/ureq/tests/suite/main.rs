//! The client over sockets.

mod exchange;
mod peer;
mod upload;
