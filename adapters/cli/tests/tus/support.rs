//! A place to run the command in, and what it said.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use tempfile::TempDir;
use tus_testkit::SplitMix64;

/// A folder for files and one for checkpoints, which nobody else has.
pub(crate) struct Place(TempDir);

/// What became of the command.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `None` where a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The command while it runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A file with bytes that are not all the same.
    pub(crate) fn file(&self, name: &str, length: usize) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content(length)).unwrap();
        path
    }

    /// The checkpoints that are kept.
    pub(crate) fn checkpoints(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.state()) else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| fs::read(path).unwrap().starts_with(b"tus-checkpoint"))
            .collect()
    }

    pub(crate) fn tus<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_tus"));
        command.args(args);
        command
    }

    /// Any program, with this place's folders.
    pub(crate) fn command(&self, program: &str) -> Command {
        #[cfg(unix)]
        hear_signals();
        let mut command = Command::new(program);
        command
            .env("TUS_STATE_DIR", self.state())
            .current_dir(self.0.path())
            .stdin(Stdio::null());
        for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
            command
                .env_remove(name)
                .env_remove(name.to_ascii_uppercase());
        }
        command
    }

    pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ran {
        self.tus(args).output().unwrap().into()
    }

    /// `tus upload --debug ENDPOINT FILE ARGS`, to be looked at while it runs.
    pub(crate) fn start_upload(&self, endpoint: &str, file: &Path, args: &[&str]) -> Running {
        let mut command = self.tus(["upload", "--debug", endpoint]);
        command.arg(file).args(args);
        Running::spawn(command)
    }
}

impl Running {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self {
            child,
            stderr,
            said: String::new(),
        }
    }

    /// Reads what the command says up to a line that holds this text.
    pub(crate) fn until(&mut self, text: &str) {
        loop {
            let at = self.said.len();
            let read = self.stderr.read_line(&mut self.said).unwrap();
            assert!(read > 0, "it ended before it said {text:?}:\n{}", self.said);
            if self.said[at..].contains(text) {
                return;
            }
        }
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn finish(mut self) -> Ran {
        self.stderr.read_to_string(&mut self.said).unwrap();
        let output = self.child.wait_with_output().unwrap();
        Ran {
            stderr: self.said,
            ..output.into()
        }
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// The URL, which is all that a success says on stdout.
    #[track_caller]
    pub(crate) fn url(&self) -> &str {
        assert_eq!(self.status, Some(0), "{self:#?}");
        let url = self.stdout.strip_suffix('\n').expect("a line");
        assert!(
            url.starts_with("http://127.0.0.1:") && !url.contains(char::is_whitespace),
            "{url:?}"
        );
        url
    }
}

/// Waits until there is what is waited for, but not for ever.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(there) = look() {
            return there;
        }
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "waited in vain for {what}"
        );
        thread::sleep(Duration::from_millis(1));
    }
}

/// Has children hear Ctrl-C even where the tests run in a shell's background, which ignores it and
/// hands that down: what is handled here is as usual in a child.
#[cfg(unix)]
fn hear_signals() {
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, Once};

    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag::register_conditional_default;

    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [SIGINT, SIGTERM] {
            register_conditional_default(signal, Arc::new(AtomicBool::new(true))).unwrap();
        }
    });
}

/// So many bytes that are not all the same, and always the same bytes.
pub(crate) fn content(length: usize) -> Vec<u8> {
    let mut random = SplitMix64::new(7);
    let words = std::iter::repeat_with(|| random.next_u64().to_le_bytes());
    words
        .take(length.div_ceil(8))
        .flatten()
        .take(length)
        .collect()
}

/// An answer without tus headers.
pub(crate) fn answer(status: u16, body: &'static str) -> Response<Bytes> {
    Response::builder()
        .status(status)
        .body(Bytes::from_static(body.as_bytes()))
        .unwrap()
}
