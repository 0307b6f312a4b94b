//! `tus demo`: an upload whose connection is cut again and again, to a server in this process.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use indicatif::HumanBytes;
use sha2::{Digest as _, Sha256};
use tus_driver::{Canceller, FileSource, Source as _};
use tus_proto::Metadata;
use tus_testkit::{Loopback, Options, Proxy, ProxyPlan, Server, SplitMix64, Trouble};

use crate::args::{Demo, describe};
use crate::exit::{Failure, Status};
use crate::report::Reporter;
use crate::{client, output, signals};

/// The length of what is made up, in bytes.
const LENGTH: u64 = 64 << 20;

pub(crate) fn run(args: &Demo, debug: bool) -> Result<(), Failure> {
    let source = match &args.file {
        Some(path) => FileSource::open(path),
        None => FileSource::from_file(
            made_up().map_err(|error| cannot("a temporary file cannot be written", &error))?,
        ),
    };
    let source = source.map_err(|error| Failure::without_advice(&error))?;
    let length = source.length().unwrap_or_default();
    let sent = digest_of(&source).map_err(|error| cannot("the file cannot be read", &error))?;
    let mut metadata = Metadata::new();
    describe(
        args.file.as_deref().unwrap_or(Path::new("demo.bin")),
        &mut metadata,
    )?;

    let loopback = Loopback::start(Server::new(Options::default()));
    let proxy = Proxy::start(
        loopback.address(),
        ProxyPlan {
            troubles: troubles(length),
            ..ProxyPlan::default()
        },
    );
    let reporter = Reporter::for_demo(length, debug);
    reporter.notice(&format!(
        "sending {} over a line that breaks, to a server in this process that keeps it in memory",
        HumanBytes(length)
    ));
    let canceller = Canceller::new();
    signals::watch(canceller.clone(), reporter.clone())?;
    let result = client::for_demo()
        .upload(proxy.url("/files/"))
        .config(|config| {
            config.metadata = metadata;
            // Nobody wants to wait for a server that is right here.
            config.retry.base = Duration::from_millis(50);
        })
        .on_event(|event| reporter.event(event))
        .canceller(canceller)
        .send(source);
    reporter.clear();
    // Nothing of it is kept, so no advice on how to go on.
    let done = result.map_err(|error| Failure::without_advice(&error))?;
    reporter.done(&done);

    let received = loopback
        .server()
        .upload(&done.url.expose())
        .map(|upload| hex(&Sha256::digest(upload.content())));
    let received = received.unwrap_or_default();
    reporter.notice(&format!("sent      SHA-256 {sent}"));
    reporter.notice(&format!("received  SHA-256 {received}"));
    if sent != received {
        return Err(Failure::new(
            Status::Failed,
            "what arrived is not what was sent: please report this",
        ));
    }
    output::write(&format!(
        "identical: {} arrived as sent, though the connection was cut {} times\n",
        HumanBytes(length),
        proxy.cuts()
    ))
}

/// Where the line breaks, in bytes that passed it: all over the file, for the last time on the
/// answer to its last bytes.
fn troubles(length: u64) -> Vec<(u64, Trouble)> {
    let share = |percent: u64| length / 100 * percent;
    vec![
        // The heads of requests count too, so a file of a few bytes has its cuts as well.
        (200 + share(10), Trouble::Reset),
        (400 + share(30), Trouble::Reset),
        (600 + share(55), Trouble::Reset),
        (800 + share(75), Trouble::Reset),
        (1000 + share(90), Trouble::LoseAnswer),
    ]
}

/// A file without a name, which is gone with the process however that ends.
fn made_up() -> io::Result<File> {
    let mut file = BufWriter::new(tempfile::tempfile()?);
    let mut random = SplitMix64::new(1);
    for _ in 0..LENGTH / 8 {
        file.write_all(&random.next_u64().to_le_bytes())?;
    }
    Ok(file.into_inner()?)
}

fn digest_of(source: &FileSource) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        match source.read_at(&mut buffer, at)? {
            0 => return Ok(hex(&digest.finalize())),
            read => {
                digest.update(&buffer[..read]);
                at += read as u64;
            }
        }
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn cannot(what: &str, error: &io::Error) -> Failure {
    Failure::new(Status::File, format_args!("{what}: {error}"))
}
