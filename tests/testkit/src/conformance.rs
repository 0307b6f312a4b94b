//! What every transport must do, as cases that are run over real sockets.
//!
//! A transport carries out one exchange at a time: a blocking one is a
//! [`Transport`](tus_driver::Transport), one whose exchanges are futures an
//! [`AsyncTransport`](tus_driver::AsyncTransport). Whoever writes one has it [run](fn@run) through the
//! suite, and gets a [`Report`]: which cases passed, which failed and why.
//!
//! ```no_run
//! # use tus_ureq::Client as MyTransport;
//! use tus_testkit::Carrier;
//! use tus_testkit::conformance::{Ability, Subject, run};
//!
//! # fn main() {
//! let subject = Subject::blocking("mine", |setup| {
//!     // Made anew for each case. Where there is a `setup.authority`, its certificate is to be trusted.
//!     MyTransport::new()
//! })
//! .speaks([Carrier::Http1])
//! .cannot(Ability::EarlyAnswers, [Carrier::Http1], "it writes all of the body before it reads")
//! .cannot(Ability::Interim, [Carrier::Http1], "it keeps interim answers to itself");
//! let report = run(&subject);
//! println!("{report}");
//! report.assert();
//! # }
//! ```
//!
//! For futures it is told how one is waited for:
//!
//! ```no_run
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use tus_driver::{AsyncTransport, BoxFuture, Control, UploadBody};
//! # use tus_proto::{Failure, Terms};
//! use tus_testkit::conformance::{Subject, run};
//!
//! # struct MyTransport;
//! # impl AsyncTransport for MyTransport {
//! #     fn exchange<'a>(
//! #         &'a self,
//! #         _: Request<UploadBody>,
//! #         _: &'a Terms,
//! #         _: &'a Control,
//! #     ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
//! #         unreachable!("nothing runs this")
//! #     }
//! #     fn sleep(&self, _: std::time::Duration) -> BoxFuture<'static, ()> {
//! #         unreachable!("nothing runs this")
//! #     }
//! # }
//! # fn main() {
//! let runtime = tokio::runtime::Runtime::new().unwrap();
//! let subject = Subject::asynchronous(
//!     "mine",
//!     move |future| runtime.block_on(future),
//!     |_setup| MyTransport,
//! );
//! run(&subject).assert();
//! # }
//! ```
//!
//! What a stack cannot do is said with [`Subject::cannot`]; then what takes its place is tested, and
//! the report says so. A transport that reports nothing of what it sends, or sends no trailers, says
//! that itself.
//!
//! The suite takes some seconds. Cases run one after the other, also those of several subjects in one
//! process: one of them counts what the process holds, so it is best given a test binary of its own.
//! If the environment names a directory in `CONFORMANCE_DIR`, each report is also
//! [written](Report::write) there; the [`Matrix`] of all that lies there is printed by
//! `cargo run -p tus-testkit --features conformance --example matrix -- DIRECTORY`.

mod answers;
mod bench;
mod endless;
mod failures;
mod leaks;
mod report;
mod requests;
mod stops;
mod subject;
mod uploads;

use std::any::Any;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

pub use report::{Matrix, Outcome, Report, Row};
pub use subject::{Ability, Setup, Subject};

use bench::{Bench, Done};

use crate::Carrier;
use crate::port::lock;

/// How long a case may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// One thing that a transport must do.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// What it is run over, where the subject speaks that.
    over: &'static [Carrier],
    run: fn(&Bench) -> Done,
}

const EVERY: &[Carrier] = &Carrier::ALL;
const CLEAR: &[Carrier] = &[Carrier::Http1, Carrier::Http2];
const HTTP1: &[Carrier] = &[Carrier::Http1];
const HTTP2: &[Carrier] = &[Carrier::Http2];
const TLS: &[Carrier] = &[Carrier::Http1Tls, Carrier::Http2Tls];

impl Case {
    const fn new(
        name: &'static str,
        about: &'static str,
        over: &'static [Carrier],
        run: fn(&Bench) -> Done,
    ) -> Self {
        Self {
            name,
            about,
            over,
            run,
        }
    }

    /// What it is run over for this subject. What is not spoken in the clear is tried over TLS.
    fn carriers(&self, subject: &Subject) -> Vec<Carrier> {
        let spoken = |carrier| subject.carriers().contains(&carrier);
        let mut carriers: Vec<_> = self
            .over
            .iter()
            .map(|&carrier| match carrier {
                Carrier::Http1 if !spoken(carrier) => Carrier::Http1Tls,
                Carrier::Http2 if !spoken(carrier) => Carrier::Http2Tls,
                carrier => carrier,
            })
            .filter(|&carrier| spoken(carrier))
            .collect();
        carriers.sort_unstable();
        carriers.dedup();
        carriers
    }

    fn outcome(self, bench: &Bench) -> Outcome {
        let (tell, told) = channel();
        let bench = bench.clone();
        thread::spawn(move || {
            let done = catch_unwind(AssertUnwindSafe(|| (self.run)(&bench)));
            let done = done.unwrap_or_else(|panic| Err(words(&*panic)));
            // Nobody may be left to listen.
            let _ = tell.send(done);
        });
        match told.recv_timeout(PATIENCE) {
            Ok(done) => done.unwrap_or_else(Outcome::Failed),
            Err(_) => Outcome::Failed(format!("it hangs: it has not ended within {PATIENCE:?}")),
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or(panic.downcast_ref::<String>().map(String::as_str));
    format!("a panic: {}", text.unwrap_or("without words"))
}

/// All cases, in their order.
pub fn cases() -> impl Iterator<Item = Case> {
    [
        requests::CASES,
        answers::CASES,
        failures::CASES,
        endless::CASES,
        stops::CASES,
        uploads::CASES,
        leaks::CASES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// Runs every case, and writes the report where the environment wants it.
///
/// # Panics
///
/// If the report cannot be written to the directory that `CONFORMANCE_DIR` names.
#[must_use]
pub fn run(subject: &Subject) -> Report {
    let report = run_some(subject, |_| true);
    if let Some(directory) = env::var_os("CONFORMANCE_DIR") {
        report
            .write(Path::new(&directory))
            .expect("the report can be written");
    }
    report
}

/// Runs the cases that are chosen, and writes nothing.
#[must_use]
pub fn run_some(subject: &Subject, chosen: impl Fn(&Case) -> bool) -> Report {
    /// What the process holds is counted, so nothing else of the suite may go on.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = lock(&ALONE);
    let mut rows = Vec::new();
    for case in cases().filter(chosen) {
        for carrier in case.carriers(subject) {
            let bench = Bench {
                subject: subject.clone(),
                carrier,
            };
            rows.push(Row {
                case: case.name.to_owned(),
                carrier,
                outcome: case.outcome(&bench),
            });
        }
    }
    Report {
        subject: subject.name().to_owned(),
        rows,
    }
}
