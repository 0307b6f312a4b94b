//! Many uploads at the same time by one client, over a line that breaks, with the server in a process
//! of its own: `cargo run --release -p tus-adapters --bin crowd -- hyper`.
//!
//! It says what was sent, whether the server has it as it was, and the most memory that the client's
//! process had, and fails where a file is not the same or the memory is more than it may be.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use http::header::RETRY_AFTER;
use http::{Response, StatusCode};
use tokio::task::JoinSet;
use tus_driver::FileSource;
use tus_proto::{Config, Event};
use tus_testkit::{FaultPlan, Loopback, Options, Rates, Server, SplitMix64};

#[derive(Parser)]
struct Arguments {
    /// Whose client; `serve` is the other process.
    role: Role,
    /// How many uploads.
    #[arg(long, default_value_t = 200)]
    uploads: u64,
    /// How long each is, in bytes.
    #[arg(long, default_value_t = 5 << 20)]
    bytes: u64,
    /// How much memory the client's process may have at most, in MiB.
    #[arg(long, default_value_t = 100)]
    memory: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    Hyper,
    Reqwest,
    Serve,
}

type Trouble = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.role {
        Role::Serve => serve(&arguments),
        _ => send_all(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The content of the file of this number, piece by piece.
fn pieces(number: u64, length: u64) -> impl Iterator<Item = Vec<u8>> {
    const PIECE: u64 = 64 << 10;
    let mut random = SplitMix64::new(number);
    (0..length.div_ceil(PIECE)).map(move |piece| {
        let words = std::iter::repeat_with(|| random.next_u64().to_le_bytes());
        let bytes = PIECE.min(length - piece * PIECE);
        let bytes = usize::try_from(bytes).expect("at most 64 KiB");
        words.flatten().take(bytes).collect()
    })
}

/// Serves until its standard input ends, then looks at what it has.
fn serve(arguments: &Arguments) -> Result<(), Trouble> {
    let rates = Rates {
        lose_request: 30,
        cut: 150,
        lose_answer: 30,
        answer: 50,
        span: arguments.bytes,
        answers: Rates::rough()
            .answers
            .into_iter()
            .filter(is_passing)
            .collect(),
        ..Rates::calm()
    };
    let loopback = Loopback::start(Server::new(Options::default()));
    loopback.set_faults(FaultPlan::seeded(1, rates).at_most(3 * arguments.uploads));
    println!("{}", loopback.endpoint());
    std::io::stdin().read_to_end(&mut Vec::new())?;

    let server = loopback.server();
    let mut identical = 0;
    for upload in server.uploads().filter(|upload| upload.is_complete()) {
        let number = upload.metadatum("number").unwrap_or_default();
        let number: u64 = String::from_utf8(number)?.parse()?;
        let mut rest = upload.content();
        let same = pieces(number, arguments.bytes).all(|piece| {
            let (begin, end) = rest.split_at_checked(piece.len()).unwrap_or_default();
            rest = end;
            begin == piece
        });
        identical += u64::from(same && rest.is_empty());
    }
    let cut = server
        .log()
        .iter()
        .filter(|record| record.status.is_none())
        .count();
    println!("{identical} {} {cut}", server.log().len());
    Ok(())
}

/// Whether it says nothing of the upload, even after its last byte (a 500 does), and not when to come back.
fn is_passing(answer: &Response<Bytes>) -> bool {
    let refuses = answer.status() == StatusCode::INTERNAL_SERVER_ERROR;
    !refuses && !answer.headers().contains_key(RETRY_AFTER)
}

fn send_all(arguments: &Arguments) -> Result<(), Trouble> {
    let folder = tempfile::tempdir()?;
    for number in 0..arguments.uploads {
        let mut file = File::create(folder.path().join(number.to_string()))?;
        for piece in pieces(number, arguments.bytes) {
            file.write_all(&piece)?;
        }
    }
    let mut server = Serving::start(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let folder = folder.path();
    let endpoint = server.endpoint.clone();
    let retries = match arguments.role {
        Role::Hyper => runtime.block_on(hyper(arguments.uploads, &endpoint, folder)),
        _ => runtime.block_on(reqwest(arguments.uploads, &endpoint, folder)),
    }?;
    let peak = peak_memory()?;
    let [identical, requests, cut] = server.end()?;
    println!(
        "{:?}: {identical} of {} uploads of {} bytes are identical; {requests} requests, {cut} of them cut, \
         {retries} retries; {peak} KiB of memory at most",
        arguments.role, arguments.uploads, arguments.bytes
    );
    if identical != arguments.uploads || peak > arguments.memory * 1024 || retries == 0 {
        return Err("that is not as it must be".into());
    }
    Ok(())
}

fn patient(config: &mut Config) {
    config.retry.base = Duration::from_millis(10);
    config.retry.max = Duration::from_millis(500);
    config.retry.attempts = Some(100);
}

/// Uploads all files at the same time with one client; says how many attempts failed.
macro_rules! crowd {
    ($name:ident, $client:expr) => {
        async fn $name(uploads: u64, endpoint: &str, folder: &Path) -> Result<u64, Trouble> {
            let client = $client;
            let mut tasks = JoinSet::new();
            for number in 0..uploads {
                let source = FileSource::open(folder.join(number.to_string()))?;
                let (client, endpoint) = (client.clone(), endpoint.to_owned());
                tasks.spawn(async move {
                    let mut retries = 0;
                    client
                        .upload(endpoint)
                        .metadata("number", number.to_string())
                        .config(patient)
                        .on_event(|event| {
                            retries += u64::from(matches!(event, Event::Retrying { .. }));
                        })
                        .send(source)
                        .await
                        .map(|_| retries)
                });
            }
            let mut retries = 0;
            while let Some(done) = tasks.join_next().await {
                retries += done??;
            }
            Ok(retries)
        }
    };
}

crowd!(hyper, tus_hyper::Client::new());
crowd!(reqwest, tus_reqwest::Client::new());

/// The server's process, which ends with this.
struct Serving {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    endpoint: String,
}

impl Serving {
    fn start(arguments: &Arguments) -> Result<Self, Trouble> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("serve")
            .args(["--uploads", &arguments.uploads.to_string()])
            .args(["--bytes", &arguments.bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("it has no output")?;
        let mut serving = Self {
            child,
            output: BufReader::new(output),
            endpoint: String::new(),
        };
        serving.endpoint = serving.line()?;
        Ok(serving)
    }

    fn line(&mut self) -> Result<String, Trouble> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// What it has in the end.
    fn end(&mut self) -> Result<[u64; 3], Trouble> {
        drop(self.child.stdin.take());
        let line = self.line()?;
        let numbers: Result<Vec<u64>, _> = line.split(' ').map(str::parse).collect();
        numbers?
            .try_into()
            .map_err(|_| "it said something else".into())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The most memory that this process has had, in KiB.
fn peak_memory() -> Result<u64, Trouble> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = line.ok_or("the system does not say how much memory there was")?;
    Ok(peak.trim().trim_end_matches("kB").trim().parse()?)
}
