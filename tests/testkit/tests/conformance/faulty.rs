//! Stacks that do not conform, each in one way, and the cases that say so.

use std::collections::BTreeSet;
use std::io::{self, Read};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tus_driver::{Control, Transport};
use tus_proto::{Body, Failure, FailureKind, Terms};
use tus_testkit::Carrier;
use tus_testkit::conformance::{Ability, Report, Setup, Subject, run_some};
use tus_ureq::Client;
use tus_ureq::ureq::Agent;
use tus_ureq::ureq::tls::{Certificate, RootCerts, TlsConfig};

/// What is wrong with a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    SendsChunks,
    SendsOneByteTwice,
    FillsUpABrokenSource,
    AsksForGzip,
    JoinsLines,
    CountsAllAtOnce,
    TakesAllAtOnce,
    NeverConnectsAnew,
    FollowsRedirects,
    FailsOnRefusals,
    TriesAgain,
    DropsALine,
    Decodes,
    CutsWords,
    TakesFramingForWords,
    TakesAllForUnsent,
    TakesAllForLost,
    TellsTheUrl,
    TrustsEverybody,
    PanicsWhenDistrusting,
}

use Fault as F;

/// Each fault, and the cases over HTTP/1.1 that it fails, or over TLS where it is one of TLS.
const FAULTS: &[(Fault, &[&str])] = &[
    (F::Nothing, &[]),
    (F::SendsChunks, &["bodyless requests", "exact body"]),
    (F::SendsOneByteTwice, &["exact body"]),
    (
        F::FillsUpABrokenSource,
        &["source ends early", "source fails"],
    ),
    (
        F::AsksForGzip,
        &["bodyless requests", "exact body", "header lines"],
    ),
    (F::JoinsLines, &["header lines"]),
    (F::CountsAllAtOnce, &["progress"]),
    (F::TakesAllAtOnce, &["progress"]),
    (F::NeverConnectsAnew, &["kept connection"]),
    (F::FollowsRedirects, &["redirects"]),
    (
        F::FailsOnRefusals,
        &["every status", "no decoding", "byte by byte"],
    ),
    (
        F::TriesAgain,
        &[
            "broken off",
            "kept and then broken",
            "distrusted certificate",
            "head without end",
            "interim answers without end",
        ],
    ),
    (F::DropsALine, &["answer's fields"]),
    (F::Decodes, &["no decoding"]),
    (F::CutsWords, &["1 GiB of words"]),
    (F::TakesFramingForWords, &["framing without end"]),
    (
        F::TakesAllForUnsent,
        &[
            "broken off",
            "no HTTP",
            "kept and then broken",
            "distrusted certificate",
            "head without end",
        ],
    ),
    (
        F::TakesAllForLost,
        &["connection refused", "distrusted certificate"],
    ),
    (F::TellsTheUrl, &["connection refused"]),
    (F::TrustsEverybody, &["distrusted certificate"]),
    (F::PanicsWhenDistrusting, &["distrusted certificate"]),
];

struct Faulty {
    client: Client,
    fault: Fault,
}

impl Faulty {
    fn new(setup: &Setup, fault: Fault) -> Self {
        let tls = TlsConfig::builder().disable_verification(fault == F::TrustsEverybody);
        let tls = match &setup.authority {
            Some(authority) => {
                let certificate = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
                tls.root_certs(RootCerts::from(vec![certificate]))
            }
            None => tls,
        };
        let config = Agent::config_builder().tls_config(tls.build());
        Self {
            client: Client::with_config(config.build()),
            fault,
        }
    }

    fn alter_request(&self, request: &mut Request<Body>, terms: &mut Terms) {
        let bodyless = request.method() == "POST" && request.body().is_empty();
        let headers = request.headers_mut();
        match self.fault {
            F::SendsChunks => {
                headers.remove("content-length");
                if bodyless {
                    let chunked = HeaderValue::from_static("chunked");
                    headers.insert("transfer-encoding", chunked);
                }
            }
            F::AsksForGzip => {
                headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
            }
            F::JoinsLines => join(headers, "x-lines"),
            F::NeverConnectsAnew => terms.fresh = false,
            _ => {}
        }
    }

    fn alter_answer(&self, mut answer: Response<Bytes>) -> Result<Response<Bytes>, Failure> {
        match self.fault {
            F::FailsOnRefusals if answer.status().is_client_error() => {
                return Err(Failure::new(FailureKind::Lost, "refused"));
            }
            F::DropsALine => {
                let value = answer.headers_mut().remove("x-lines");
                answer.headers_mut().extend(value.map(|value| {
                    let name = http::HeaderName::from_static("x-lines");
                    (name, value)
                }));
            }
            F::Decodes if answer.headers_mut().remove("content-encoding").is_some() => {
                *answer.body_mut() = "words".into();
            }
            F::CutsWords => answer.body_mut().truncate(1000),
            F::TakesFramingForWords if answer.headers().contains_key("transfer-encoding") => {
                *answer.body_mut() = vec![b'0'; 1000].into();
            }
            _ => {}
        }
        Ok(answer)
    }

    fn alter_failure(&self, mut failure: Failure, url: &str) -> Failure {
        match self.fault {
            F::TakesAllForUnsent => failure.kind = FailureKind::NotSent,
            F::TakesAllForLost => failure.kind = FailureKind::Lost,
            F::TellsTheUrl if failure.kind == FailureKind::NotSent => {
                failure.message = format!("{url}: {}", failure.message);
            }
            F::PanicsWhenDistrusting if failure.kind == FailureKind::Hopeless => {
                panic!("{failure}")
            }
            _ => {}
        }
        failure
    }
}

fn join(headers: &mut HeaderMap, name: &'static str) {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if values.len() > 1 {
        let joined = HeaderValue::from_bytes(&values.join(&b", "[..])).unwrap();
        headers.insert(name, joined);
    }
}

impl Transport for Faulty {
    fn exchange(
        &self,
        mut request: Request<Body>,
        terms: &Terms,
        body: &mut dyn Read,
        control: &Control,
    ) -> Result<Response<Bytes>, Failure> {
        let mut terms = terms.clone();
        self.alter_request(&mut request, &mut terms);
        let length = request.body().end - request.body().start;
        let mut whole = Vec::new();
        let mut altered = Altered {
            fault: self.fault,
            left: length,
            body,
        };
        let body: &mut dyn Read = match self.fault {
            F::CountsAllAtOnce => {
                control.sent(length);
                &mut altered
            }
            F::TakesAllAtOnce => {
                control
                    .counted(&mut altered)
                    .read_to_end(&mut whole)
                    .map_err(|error| Failure::new(FailureKind::Lost, error.to_string()))?;
                &mut &whole[..]
            }
            _ => &mut altered,
        };
        let again = request.clone();
        let url = request.uri().to_string();
        let mut result = self.client.exchange(request, &terms, body, control);
        if self.fault == F::TriesAgain && result.is_err() && length == 0 {
            let request = again.clone();
            result = self
                .client
                .exchange(request, &terms, &mut io::empty(), control);
        }
        let answer = result.map_err(|failure| self.alter_failure(failure, &url))?;
        if self.fault == F::FollowsRedirects
            && answer.status() == StatusCode::SEE_OTHER
            && let Ok(location) = answer.headers()["location"].to_str()
            && let Ok(target) = location.parse()
            && location.starts_with("http")
        {
            let mut request = again;
            *request.uri_mut() = target;
            return self
                .client
                .exchange(request, &terms, &mut io::empty(), control);
        }
        self.alter_answer(answer)
    }
}

/// A body, as a faulty stack reads it.
struct Altered<'a> {
    fault: Fault,
    left: u64,
    body: &'a mut dyn Read,
}

impl Read for Altered<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = buf.len().min(usize::try_from(self.left).unwrap());
        let read = match self.body.read(&mut buf[..wanted]) {
            Err(_) if self.fault == F::FillsUpABrokenSource => wanted,
            read => read?,
        };
        if self.fault == F::SendsOneByteTwice && read > 1 {
            buf[1] = buf[0];
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn subject(fault: Fault) -> Subject {
    Subject::blocking("faulty", move |setup| Faulty::new(setup, fault))
        .speaks([Carrier::Http1, Carrier::Http1Tls])
        .cannot(Ability::EarlyAnswers, Carrier::ALL, "as ureq")
        .cannot(Ability::Interim, Carrier::ALL, "as ureq")
}

/// The cases that are whole uploads, or end in one.
const UPLOADS: [&str; 8] = [
    "trailer",
    "early answer",
    "uploads",
    "parts",
    "cut lines",
    "rough line",
    "leave to send",
    "case of names",
];

fn failed(report: &Report) -> BTreeSet<&str> {
    report.failures().map(|(row, _)| &*row.case).collect()
}

#[test]
fn each_fault_fails_the_cases_that_are_about_it() {
    let mut surprises = Vec::new();
    for &(fault, fails) in FAULTS {
        let report = run_some(&subject(fault), |case| {
            // What waits for limits, or counts, takes long and says no more of these.
            let slow = case.name.starts_with("never") || case.name.starts_with("10,000");
            !slow && !UPLOADS.contains(&case.name)
        });
        if failed(&report) != fails.iter().copied().collect() {
            surprises.push(format!("{fault:?}, which is to fail {fails:?}:\n{report}"));
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

#[test]
fn a_wrong_byte_fails_every_upload() {
    let subject = subject(F::SendsOneByteTwice);
    let report = run_some(&subject, |case| UPLOADS.contains(&case.name));
    assert_eq!(failed(&report), BTreeSet::from(UPLOADS), "{report}");
    assert_eq!(report.failures().count(), report.rows.len(), "{report}");
}
