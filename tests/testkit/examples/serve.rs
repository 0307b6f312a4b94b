//! A tus server to try a client on: `cargo run -p tus-testkit --example serve`.
//!
//! It has every extension, keeps what it gets in memory, and ends with Ctrl-C.

use std::thread;

use tus_testkit::{Loopback, Options, Server};

fn main() {
    let loopback = Loopback::start(Server::new(Options::default()));
    println!("{}", loopback.endpoint());
    loop {
        thread::park();
    }
}
