//! The `tus` command as its users have it: the built binary, against servers on loopback ports.

mod bad_input;
mod demo;
mod extensions;
mod info;
mod interrupted;
mod parts;
mod secure;
mod stdin;
mod support;
mod terminal;
mod upload;
