//! Whole uploads.

use std::time::Duration;

use tus_proto::{Algorithm, Config};

use super::bench::{Bench, Done, bytes, ensure};
use super::{CLEAR, Case, EVERY, HTTP1, Outcome};
use crate::{Act, FaultPlan, Loopback, Options, Proxy, ProxyPlan, Quirk, Rates, Server, Trouble};

pub(super) const CASES: &[Case] = &[
    Case::new("uploads", "an upload of any size arrives", EVERY, arrives),
    Case::new(
        "parts",
        "an upload in parts at the same time arrives",
        CLEAR,
        parts,
    ),
    Case::new(
        "cut lines",
        "an upload survives cuts of its connection",
        EVERY,
        cuts,
    ),
    Case::new(
        "rough line",
        "an upload survives whatever goes wrong, often",
        CLEAR,
        rough,
    ),
    Case::new(
        "leave to send",
        "a creation may wait for leave to send its bytes",
        CLEAR,
        leave,
    ),
    Case::new(
        "case of names",
        "the names of fields mean the same in any case",
        HTTP1,
        names,
    ),
];

fn loopback(bench: &Bench, quirks: impl Into<Vec<Quirk>>) -> Loopback {
    let options = Options {
        quirks: quirks.into(),
        ..Options::default()
    };
    Loopback::over(bench.carrier, Server::new(options))
}

fn impatient(config: &mut Config) {
    config.retry.base = Duration::from_millis(1);
}

/// Uploads so many bytes to this endpoint, and looks whether they are there.
fn upload(
    bench: &Bench,
    loopback: &Loopback,
    endpoint: String,
    (length, parts): (usize, usize),
    config: impl FnOnce(&mut Config),
) -> Result<(), String> {
    let content = bytes(length);
    let done = bench
        .stack(loopback.authority())
        .upload(endpoint, parts, config, content.clone())
        .map_err(|error| format!("{length} bytes: the upload ends with: {error}"))?;
    let server = loopback.server();
    let upload = server.upload(done.url.as_uri().path());
    let arrived = upload.is_some_and(|upload| upload.content() == content);
    ensure!(arrived, "{length} bytes: the server does not have them");
    Ok(())
}

fn arrives(bench: &Bench) -> Done {
    for length in [0, 1, 100_000, 3 << 20] {
        let loopback = loopback(bench, []);
        let endpoint = loopback.endpoint();
        upload(bench, &loopback, endpoint, (length, 1), |_| {})?;
    }
    Ok(Outcome::Passed)
}

fn parts(bench: &Bench) -> Done {
    let loopback = loopback(bench, []);
    let endpoint = loopback.endpoint();
    upload(bench, &loopback, endpoint, (6 << 20, 4), |config| {
        config.parts.least = 1;
    })?;
    let server = loopback.server();
    let parts = server.uploads().filter(|upload| upload.is_partial());
    let parts = parts.count();
    ensure!(parts == 4, "it went in {parts} parts");
    Ok(Outcome::Passed)
}

fn cuts(bench: &Bench) -> Done {
    let loopback = loopback(bench, []);
    let plan = ProxyPlan {
        troubles: vec![
            (100_000, Trouble::Reset),
            (1_000_000, Trouble::Reset),
            // Over TLS or HTTP/2 it is a reset at what the server says next.
            (2_000_000, Trouble::LoseAnswer),
        ],
        ..ProxyPlan::default()
    };
    let proxy = Proxy::start(loopback.address(), plan);
    let endpoint = bench.as_carried(&proxy.url("/files/"));
    upload(bench, &loopback, endpoint, (3 << 20, 1), impatient)?;
    ensure!(proxy.cuts() >= 2, "it was cut {} times", proxy.cuts());
    Ok(Outcome::Passed)
}

fn rough(bench: &Bench) -> Done {
    let rates = Rates {
        refuse: 70,
        lose_request: 70,
        cut: 200,
        lose_answer: 100,
        span: 300_000,
        ..Rates::calm()
    };
    for seed in 0..8 {
        let loopback = loopback(bench, []);
        loopback.set_faults(FaultPlan::seeded(seed, rates.clone()).at_most(20));
        let endpoint = loopback.endpoint();
        let settings = |config: &mut Config| {
            impatient(config);
            config.retry.attempts = None;
            config.request_size = Some(100_000);
        };
        upload(bench, &loopback, endpoint, (300_000, 1), settings)
            .map_err(|why| format!("seed {seed}: {why}"))?;
    }
    Ok(Outcome::Passed)
}

fn leave(bench: &Bench) -> Done {
    let loopback = loopback(bench, []);
    let endpoint = loopback.endpoint();
    upload(bench, &loopback, endpoint, (100_000, 1), |config| {
        config.expect_continue = true;
    })?;
    let server = loopback.server();
    let expects = server.log().iter().any(|record| {
        let expect = record.headers.get("expect");
        record.body == 100_000 && expect.is_some_and(|expect| expect == "100-continue")
    });
    ensure!(
        expects,
        "the creation did not bring the bytes, or did not wait"
    );
    Ok(Outcome::Passed)
}

fn names(bench: &Bench) -> Done {
    for quirk in [Quirk::LowerCase, Quirk::UpperCase] {
        let loopback = loopback(bench, [quirk]);
        let endpoint = loopback.endpoint();
        upload(bench, &loopback, endpoint, (100_000, 1), |_| {})?;
    }
    Ok(Outcome::Passed)
}

/// What takes the place of a trailer.
pub(super) fn with_a_digest_before(bench: &Bench) -> Result<(), String> {
    let loopback = loopback(bench, []);
    let endpoint = loopback.endpoint();
    upload(bench, &loopback, endpoint, (300_000, 1), |config| {
        impatient(config);
        config.checksums = vec![Algorithm::SHA1];
    })?;
    let server = loopback.server();
    let digests = server
        .log()
        .iter()
        .any(|record| record.headers.contains_key("upload-checksum"));
    ensure!(digests, "no digest was sent");
    Ok(())
}

/// What takes the place of an early answer that is not read: the upload asks, and goes on from there.
pub(super) fn refused_in_the_middle(bench: &Bench) -> Result<(), String> {
    let content = bytes(16 << 20);
    let length = content.len().to_string();
    let stage = bench.stage([
        vec![Act::ReadAll, Act::fields(201, &[("location", "/files/1")])],
        vec![Act::Read(100_000), Act::answer(503, "not now"), Act::Reset],
        vec![Act::fields(
            200,
            &[("upload-offset", "100000"), ("upload-length", &length)],
        )],
        vec![
            Act::ReadAll,
            Act::fields(204, &[("upload-offset", &length)]),
        ],
    ]);
    let settings = |config: &mut Config| {
        impatient(config);
        config.creation_body = 0;
    };
    let rest = crc32fast::hash(&content[100_000..]);
    bench
        .stack(stage.authority())
        .upload(stage.url("/files/"), 1, settings, content)
        .map_err(|error| format!("refused in mid-body, the upload ends with: {error}"))?;
    let seen = stage.seen();
    let methods: Vec<_> = seen.iter().map(|seen| seen.method.as_str()).collect();
    ensure!(
        methods == ["POST", "PATCH", "HEAD", "PATCH"],
        "refused in mid-body, the requests are {methods:?}"
    );
    ensure!(
        seen[3].crc32 == rest,
        "refused in mid-body, the upload goes on with other bytes"
    );
    Ok(())
}
