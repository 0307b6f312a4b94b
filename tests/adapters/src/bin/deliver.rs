//! Uploads a file with one of the adapters, as `tus upload` does: what tests/interop drives.
//!
//! Its checkpoints are in the folder that `TUS_STATE_DIR` names. The URL goes to standard output,
//! events to standard error, and so does an error, after its name: `Exhausted: ...`.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tus_driver::{AsyncSource, FileSource, IntoSource, ReaderSource, Store};
use tus_hyper::rustls;
use tus_proto::{Algorithm, Config};

#[derive(Parser)]
struct Arguments {
    stack: Stack,
    #[command(subcommand)]
    task: Task,
}

#[derive(Clone, Copy, ValueEnum)]
enum Stack {
    Ureq,
    Hyper,
    Reqwest,
}

/// In the words of `tus`.
#[derive(clap::Subcommand)]
enum Task {
    Upload(Uploading),
}

#[derive(clap::Args)]
struct Uploading {
    /// Trust these certificates (PEM), and no others.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Upload in so many parts.
    #[arg(long)]
    parallel: Option<usize>,
    /// Send this checksum with the bytes.
    #[arg(long, value_parser = |text: &str| Algorithm::new(text))]
    checksum: Option<Algorithm>,
    /// The most bytes of one request: a number, with K or M.
    #[arg(long, value_parser = size)]
    chunk_size: Option<u64>,
    /// Give up when attempts have failed for so many seconds without progress.
    #[arg(long, value_parser = seconds, default_value = "900")]
    give_up_after: Duration,
    /// For how many seconds the line may stand still while the file is being sent.
    #[arg(long, value_parser = seconds)]
    stall_timeout: Option<Duration>,
    /// How many seconds the server may take to answer.
    #[arg(long, value_parser = seconds)]
    answer_timeout: Option<Duration>,
    endpoint: String,
    /// `-`: what standard input gives.
    file: PathBuf,
}

type Trouble = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    let Arguments { stack, task } = Arguments::parse();
    let Task::Upload(uploading) = task;
    let done = match stack {
        Stack::Ureq => over_ureq(&uploading),
        Stack::Hyper => on_tokio(over_hyper(&uploading)),
        Stack::Reqwest => on_tokio(over_reqwest(&uploading)),
    };
    match done {
        Ok(url) => {
            println!("{url}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", name(&error));
            ExitCode::FAILURE
        }
    }
}

/// The variant of what ended it; of the machine's errors, theirs.
fn name(error: &Trouble) -> String {
    use tus_driver::Error as Ended;

    let told = match error.downcast_ref::<Ended>() {
        None => return "Other".into(),
        Some(Ended::Upload(error)) => format!("{error:?}"),
        Some(error) => format!("{error:?}"),
    };
    let letters = told.chars().take_while(char::is_ascii_alphabetic);
    letters.collect()
}

fn on_tokio<T>(future: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(future)
}

fn size(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix('M') {
        Some(digits) => (digits, 1 << 20),
        None => text
            .strip_suffix('K')
            .map_or((text, 1), |digits| (digits, 1 << 10)),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text} is no size"))?;
    number
        .checked_mul(unit)
        .ok_or_else(|| format!("{text} is too large"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| format!("{text} is no number of seconds"))
}

impl Uploading {
    fn pem(&self) -> Result<Option<Vec<u8>>, Trouble> {
        Ok(self.ca.as_ref().map(fs::read).transpose()?)
    }

    fn reads_input(&self) -> bool {
        self.file == Path::new("-")
    }

    fn configure(&self, config: &mut Config) {
        config.request_size = self.chunk_size;
        config.checksums.extend(self.checksum.clone());
        // As patient as the command is.
        config.retry.attempts = None;
        config.retry.no_progress = Some(self.give_up_after);
        config.retry.max = Duration::from_secs(2);
        let timeouts = &mut config.timeouts;
        timeouts.stall = self.stall_timeout.unwrap_or(timeouts.stall);
        timeouts.answer = self.answer_timeout.unwrap_or(timeouts.answer);
        timeouts.answer_to_body = self.answer_timeout.unwrap_or(timeouts.answer_to_body);
    }
}

/// The one text for all three adapters: what differs is the client, and how a call is awaited.
macro_rules! deliver {
    ($uploading:expr, $client:expr, $stdin:expr $(, $await:tt)?) => {{
        let (uploading, client) = ($uploading, $client);
        let call = client
            .upload(&uploading.endpoint)
            .config(|config| uploading.configure(config))
            .on_event(|event| eprintln!("{event:?}"));
        let call = match uploading.parallel {
            Some(parts) => call.parallel(parts),
            None => call,
        };
        let done = if uploading.reads_input() {
            call.send($stdin)$(.$await)??
        } else {
            let source = FileSource::open(&uploading.file)?.into_source()?;
            let call = match env::var_os("TUS_STATE_DIR") {
                Some(folder) => call.resume_from(Store::at(folder)),
                None => call,
            };
            call.send(source)$(.$await)??
        };
        Ok(done.url.expose().to_string())
    }};
}

fn over_ureq(uploading: &Uploading) -> Result<String, Trouble> {
    use tus_ureq::ureq::Agent;
    use tus_ureq::ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

    let mut config = Agent::config_builder();
    if let Some(pem) = uploading.pem()? {
        let mut roots: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item? {
                roots.push(certificate);
            }
        }
        let tls = TlsConfig::builder().root_certs(RootCerts::from(roots));
        config = config.tls_config(tls.build());
    }
    let client = tus_ureq::Client::with_config(config.build());
    deliver!(uploading, client, ReaderSource::new(std::io::stdin()))
}

async fn over_hyper(uploading: &Uploading) -> Result<String, Trouble> {
    let client = match uploading.pem()? {
        None => tus_hyper::Client::new(),
        Some(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in rustls::pki_types::pem::PemObject::pem_slice_iter(&pem) {
                roots.add(certificate?)?;
            }
            let provider = rustls::crypto::ring::default_provider();
            let config = rustls::ClientConfig::builder_with_provider(provider.into())
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots)
                .with_no_client_auth();
            tus_hyper::Client::with_rustls(config)
        }
    };
    deliver!(
        uploading,
        client,
        AsyncSource::from_tokio(tokio::io::stdin()),
        await
    )
}

async fn over_reqwest(uploading: &Uploading) -> Result<String, Trouble> {
    let client = match uploading.pem()? {
        None => tus_reqwest::Client::new(),
        Some(pem) => {
            let roots = tus_reqwest::reqwest::Certificate::from_pem_bundle(&pem)?;
            tus_reqwest::Client::with_builder(move |builder| builder.tls_certs_only(roots.clone()))
        }
    };
    deliver!(
        uploading,
        client,
        AsyncSource::from_tokio(tokio::io::stdin()),
        await
    )
}
