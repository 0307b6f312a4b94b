//! The command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Parser, Subcommand};
use http::{HeaderMap, HeaderName, HeaderValue};
use tus_driver::ALGORITHMS;
use tus_proto::{Algorithm, Config, Metadata};

use crate::exit::{Failure, table};

/// Resumable uploads (tus 1.0.0): cut at any point, they go on where they were.
#[derive(Debug, Parser)]
#[command(name = "tus", version, after_help = table(), subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Log each step to stderr
    #[arg(long, global = true)]
    pub(crate) debug: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Upload a file, and print the upload's URL
    ///
    /// If it is interrupted, by Ctrl-C, a kill or a crash, the same command goes on where it was.
    /// What it needs for that is kept in the folder that the environment names as `TUS_STATE_DIR`,
    /// else in the system's folder for state.
    #[command(after_help = table())]
    Upload(Upload),
    /// Show what the server knows of an upload
    #[command(after_help = table())]
    Info(Info),
    /// Delete an upload from the server, finished or not; one that is not there is no failure
    #[command(after_help = table())]
    Delete(Delete),
    /// Show what a server says that it can do
    #[command(after_help = table())]
    Server(Server),
    /// See an upload survive a connection that is cut again and again, without needing a server
    #[command(after_help = table())]
    Demo(Demo),
}

#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// URL of the server's endpoint, where uploads are created
    pub(crate) endpoint: String,
    /// The file to upload, a regular file; `-`: stdin, to its end, which cannot go on once it was
    /// interrupted. Several with --concat
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Join the files, in this order, to one upload. It has no `filename` and no `filetype` unless
    /// --metadata says them
    #[arg(long)]
    pub(crate) concat: bool,
    /// Send the file in so many parts at the same time, which the server then joins; in fewer where they
    /// would be shorter than 8 MiB. Without it a file is sent whole. An upload that goes on keeps the
    /// parts that it had. With --concat: so many of the files at the same time, 3 by default; none is cut
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) parallel: Option<u32>,
    /// Have the server compare a checksum of each request's bytes: the first of these that it has, of
    /// sha1, sha256, sha512, md5 and crc32. Where the server does not say whether it compares any, they
    /// are sent all the same, and a notice says so
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = checksum)]
    pub(crate) checksum: Vec<Algorithm>,
    /// Attach this metadata to the upload, beside `filename` and `filetype`. It is set when the upload
    /// is created, and changes nothing of one that goes on. Repeatable
    #[arg(long, value_name = "KEY[=VALUE]")]
    pub(crate) metadata: Vec<String>,
    /// As --metadata, with a value of any bytes, written as base64. Repeatable
    #[arg(long, value_name = "KEY=BASE64")]
    pub(crate) metadata_base64: Vec<String>,
    /// Do not attach `filename` and `filetype`
    #[arg(long)]
    pub(crate) no_default_metadata: bool,
    /// The most that one request carries, such as 8M, 512KiB, 1000 (bytes, the least); by default all that
    /// remains, but 8M from stdin, which is kept in memory for as long, and with --checksum. K, M, G and KiB, MiB, GiB are powers of 1024; KB, MB, GB are powers of 1000
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) chunk_size: Option<u64>,
    /// Forget an earlier, unfinished upload of this file to this endpoint, and begin anew
    #[arg(long)]
    pub(crate) fresh: bool,
    #[command(flatten)]
    pub(crate) dialect: Dialect,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Info {
    /// URL of the upload
    pub(crate) url: String,
    /// As JSON: url, offset, length, deferred, complete, role, parts, metadata, expires
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// URL of the upload
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) dialect: Dialect,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Server {
    /// URL of the server's endpoint, where uploads are created
    pub(crate) endpoint: String,
    /// As JSON: versions, extensions, `max_size`, `checksum_algorithms`; null: the server does not say
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The file to send; by default 64 MiB that are made up. The demo's server keeps what arrives
    /// in memory
    pub(crate) file: Option<PathBuf>,
}

/// What to ask of a server that is not as others.
#[derive(Debug, Args)]
pub(crate) struct Dialect {
    /// Ask for what the server says that it does not offer
    #[arg(long)]
    pub(crate) try_unoffered: bool,
    /// Send PATCH and DELETE as POST with X-HTTP-Method-Override, for what lets nothing else through
    #[arg(long)]
    pub(crate) method_override: bool,
}

/// How to reach the server, and for how long to try.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Send this header with every request to the URL's own origin. Repeatable
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<String>,
    /// Trust the root certificates in this file (PEM) too
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Accept any certificate: whoever is on the way can read and change everything
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Give up after so many failed attempts in a row that brought nothing forward, instead of
    /// after a time; 0: at the first
    #[arg(long, value_name = "N")]
    pub(crate) retries: Option<u32>,
    /// Give up when attempts have failed for this long without progress; one under way is not cut short
    /// [default: 900 for uploads, 60 for all else]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) give_up_after: Option<Duration>,
    /// How long a connection may take to come about [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) connect_timeout: Option<Duration>,
    /// How long the line may stand still while the file is being sent [default: 60]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) stall_timeout: Option<Duration>,
    /// How long the server may take to answer [default: 60, after bytes of the file 300, to
    /// the joining of parts 900]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) answer_timeout: Option<Duration>,
    /// Say nothing but errors and the result
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// What is uploaded.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What<'a> {
    File(&'a PathBuf),
    Stdin,
    Joined(&'a [PathBuf]),
}

impl<'a> What<'a> {
    pub(crate) fn files(self) -> &'a [PathBuf] {
        match self {
            Self::File(file) => std::slice::from_ref(file),
            Self::Stdin => &[],
            Self::Joined(files) => files,
        }
    }
}

impl Upload {
    /// What is uploaded, if what was said of it can be.
    pub(crate) fn what(&self) -> Result<What<'_>, Failure> {
        let stdin = Path::new("-");
        let is_url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
        let wrong = |what: &str| Err(Failure::usage(what));
        let mut files = self.files.iter().filter_map(|file| file.to_str());
        if !is_url(&self.endpoint) && files.any(is_url) {
            return wrong("the endpoint comes first: tus upload ENDPOINT FILE");
        }
        match &self.files[..] {
            [only] if only == stdin && !self.concat => {
                if self.parallel.is_some() {
                    return wrong(
                        "--parallel: stdin cannot be sent in parts, for it is read but once",
                    );
                }
                if self.fresh {
                    return wrong("--fresh: nothing is kept of an upload from stdin; leave it out");
                }
                Ok(What::Stdin)
            }
            files if files.iter().any(|file| file == stdin) => {
                wrong("-: stdin cannot be joined with files, for its length is not known")
            }
            [only] => Ok(What::File(only)),
            files if self.concat => Ok(What::Joined(files)),
            _ => wrong(
                "several files are several uploads; --concat joins them to one, in this order",
            ),
        }
    }

    /// What the upload is to say of itself.
    pub(crate) fn metadata(&self) -> Result<Metadata, Failure> {
        let mut metadata = Metadata::new();
        for text in &self.metadata {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            metadata.insert(key, value).map_err(Failure::usage)?;
        }
        for text in &self.metadata_base64 {
            let (key, value) = text.split_once('=').unwrap_or((text, ""));
            let value = STANDARD.decode(value).map_err(|_| {
                Failure::usage(format_args!(
                    "--metadata-base64: the value of {key:?} is not base64"
                ))
            })?;
            metadata.insert(key, value).map_err(Failure::usage)?;
        }
        if let (What::File(file), false, false) =
            (self.what()?, self.concat, self.no_default_metadata)
        {
            describe(file, &mut metadata)?;
        }
        Ok(metadata)
    }
}

/// Adds name and MIME type of a file, where nothing else was said of them.
pub(crate) fn describe(file: &Path, metadata: &mut Metadata) -> Result<(), Failure> {
    let name = file.file_name().unwrap_or_default();
    #[cfg(unix)]
    let name = std::os::unix::ffi::OsStrExt::as_bytes(name);
    #[cfg(not(unix))]
    let name = name.to_string_lossy();
    #[cfg(not(unix))]
    let name = name.as_bytes();
    let media_type = mime_guess::from_path(file).first_or_octet_stream();
    let media_type = media_type.essence_str().as_bytes();
    for (key, value) in [("filename", name), ("filetype", media_type)] {
        if metadata.get(key).is_none() {
            metadata.insert(key, value).map_err(Failure::usage)?;
        }
    }
    Ok(())
}

impl Dialect {
    pub(crate) fn configure(&self, config: &mut Config) {
        config.try_unoffered = self.try_unoffered;
        config.method_override = self.method_override;
    }
}

impl Connection {
    /// The headers. What is wrong with one is told without its value, which may be a password.
    pub(crate) fn headers(&self) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        for text in &self.headers {
            let wrong = |what: &str| {
                Failure::usage(format_args!("--header: {what}; it must be 'Name: value'"))
            };
            let (name, value) = text
                .split_once(':')
                .ok_or_else(|| wrong("there is no colon in it"))?;
            let name = HeaderName::try_from(name.trim())
                .map_err(|_| wrong("its name is not one that HTTP allows"))?;
            let mut value = HeaderValue::try_from(value.trim())
                .map_err(|_| wrong(&format!("the value of {name} is not one that HTTP allows")))?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(headers)
    }

    /// Brings all this into a machine's configuration. `patience`: how long without progress is
    /// borne unless something else was said.
    pub(crate) fn configure(&self, config: &mut Config, patience: Duration) {
        config.retry.attempts = self.retries;
        config.retry.no_progress = self
            .give_up_after
            .or(self.retries.is_none().then_some(patience));
        config.retry.max_retry_after = Duration::from_secs(60 * 60);
        let timeouts = &mut config.timeouts;
        timeouts.connect = self.connect_timeout.unwrap_or(timeouts.connect);
        timeouts.stall = self.stall_timeout.unwrap_or(timeouts.stall);
        timeouts.answer = self.answer_timeout.unwrap_or(timeouts.answer);
        timeouts.answer_to_body = self.answer_timeout.unwrap_or(timeouts.answer_to_body);
        timeouts.concatenation = self.answer_timeout.unwrap_or(timeouts.concatenation);
    }
}

/// The name of a checksum that can be computed here.
fn checksum(name: &str) -> Result<Algorithm, String> {
    let known = ALGORITHMS.iter();
    let known = known
        .clone()
        .find(|known| known.as_str().eq_ignore_ascii_case(name));
    known.cloned().ok_or_else(|| {
        let names: Vec<_> = ALGORITHMS.iter().map(Algorithm::as_str).collect();
        format!(
            "there is no such checksum here; there are {}",
            names.join(", ")
        )
    })
}

/// A number of bytes, with a unit or without.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: u64 =
        match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(
                "it must be a number of bytes, or one with K, M, G, KiB, MiB, GiB, KB, MB or GB"
                    .into(),
            ),
        };
    match number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
    {
        // A thousand requests that bring next to nothing are the end of an upload.
        Some(..1000) => Err("it must be at least 1000 bytes".into()),
        Some(bytes) => Ok(bytes),
        None => Err("it must begin with a number, and not be larger than any file".into()),
    }
}

/// A number of seconds, more than 0.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .filter(|seconds| !seconds.is_zero())
        .ok_or_else(|| "it must be a number of seconds above 0".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_time_for_an_answer_is_that_of_every_answer() {
        let line = ["tus", "upload", "http://h/", "a", "--answer-timeout", "7"];
        let Command::Upload(args) = Cli::parse_from(line).command else {
            panic!("it is an upload");
        };
        let mut config = Config::default();
        args.connection.configure(&mut config, Duration::MAX);
        let times = config.timeouts;
        let times = [times.answer, times.answer_to_body, times.concatenation];
        assert_eq!(times, [Duration::from_secs(7); 3]);
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("1000", 1000),
            ("8M", 8 << 20),
            ("512KiB", 512 << 10),
            ("2 GB", 2_000_000_000),
            ("1t", 1 << 40),
            ("1000b", 1000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "0K",
            "999",
            "M",
            "-1",
            "1.5M",
            "8X",
            "99999999999G",
            "18446744073709551616",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_seconds() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["", "0", "-1", "NaN", "inf", "1e30", "5 min"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
