//! A tus server to try a client on: `cargo run -p tus-testkit --example serve`.
//!
//! It keeps what it gets in memory, and ends with Ctrl-C. It has every extension and no quirk, unless its
//! arguments say otherwise: `like=tusd`, `like=@tus/server` or `like=resumable-upload`, `max-size=BYTES`,
//! `expires=SECONDS`. On a line of its input, `holds URL` asks how many bytes of an upload are there, and
//! their SHA-256, and `later SECONDS` puts its clock forward.

use std::time::{Duration, SystemTime};
use std::{env, io, thread};

use tus_testkit::{Loopback, Options, Server, checksum};

fn main() {
    let mut now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs());
    let mut server = Server::new(options(env::args().skip(1)));
    server.set_now(now);
    let loopback = Loopback::start(server);
    println!("{}", loopback.endpoint());
    for line in io::stdin().lines().map_while(Result::ok) {
        match line.split_once(' ') {
            Some(("holds", url)) => println!("{}", holds(&loopback.server(), url)),
            Some(("later", seconds)) => {
                now += number(seconds);
                loopback.server().set_now(now);
                println!("{now}");
            }
            _ => println!("what is {line:?}?"),
        }
    }
    loop {
        thread::park();
    }
}

fn options(arguments: impl Iterator<Item = String>) -> Options {
    let mut options = Options::default();
    for argument in arguments {
        match argument.split_once('=') {
            Some(("like", "tusd")) => options = Options::like_tusd(),
            Some(("like", "@tus/server")) => options = Options::like_tus_node(),
            Some(("like", "resumable-upload")) => options = Options::like_resumable_upload(),
            Some(("max-size", bytes)) => options.max_size = Some(number(bytes)),
            Some(("expires", seconds)) => {
                options.expires_after = Some(Duration::from_secs(number(seconds)));
            }
            _ => panic!("what is {argument:?}?"),
        }
    }
    options
}

fn number(digits: &str) -> u64 {
    digits.parse().expect("a number")
}

fn holds(server: &Server, url: &str) -> String {
    let Some(upload) = server.upload(url) else {
        return "nothing".into();
    };
    let content = upload.content();
    let digest = checksum("sha256", content).unwrap_or_default();
    let hex = digest
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
    format!("{} {hex}", content.len())
}
