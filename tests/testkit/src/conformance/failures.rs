//! What comes instead of an answer.

use tus_proto::FailureKind;

use super::bench::{
    Bench, Done, LONG, Running, SECRET, Watched, answered, append, creation, creation_at, ensure,
    failed,
};
use super::subject::Attempt;
use super::{CLEAR, Case, EVERY, HTTP1, HTTP2, Outcome, TLS};
use crate::port::Closed;
use crate::{Act, End};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "connection refused",
        "what cannot have been sent is not sent",
        CLEAR,
        refused,
    ),
    Case::new(
        "broken off",
        "a connection that ends before, in or after the body is a request lost, and not tried again",
        EVERY,
        broken,
    ),
    Case::new(
        "no HTTP",
        "an answer that is none is a request lost",
        HTTP1,
        nonsense,
    ),
    Case::new(
        "kept and then broken",
        "a request that is lost on a connection in use is not tried again",
        CLEAR,
        kept,
    ),
    Case::new(
        "closed in between",
        "a connection that was closed between requests is at worst one request lost",
        CLEAR,
        stale,
    ),
    Case::new(
        "refused stream",
        "a stream that was refused is not sent, and not tried again",
        HTTP2,
        refused_stream,
    ),
    Case::new(
        "source ends early",
        "where the source ends before its range, the request does not come to its end",
        EVERY,
        short,
    ),
    Case::new(
        "source fails",
        "where the source fails, the request does not come to its end",
        CLEAR,
        broken_source,
    ),
    Case::new(
        "distrusted certificate",
        "a certificate that is not trusted is hopeless: nothing is sent, and nothing tried again",
        TLS,
        distrusted,
    ),
];

fn refused(bench: &Bench) -> Done {
    let port = Closed::any();
    let url = port.url(&format!("/files/?key={SECRET}"));
    let url = bench.as_carried(&url);
    let stack = bench.stack(None);
    for _ in 0..2 {
        let (request, terms) = creation_at(&url);
        let result = stack.exchange(&Attempt::new("")?, request, &terms);
        failed(result, &[FailureKind::NotSent])?;
    }
    Ok(Outcome::Passed)
}

/// Ends a request, without an answer, in every way that there is.
fn ends() -> [Act; 3] {
    [Act::Reset, Act::Abort, Act::Close]
}

fn broken(bench: &Bench) -> Done {
    let before: &[Act] = &[];
    for read in [before, &[Act::Read(100_000)], &[Act::ReadAll]] {
        for end in ends() {
            let acts = [read, &[end]].concat();
            let stage = bench.stage([acts.clone(), vec![Act::ReadAll, Act::answer(204, "")]]);
            let stack = bench.stack(stage.authority());
            let attempt = Attempt::new(super::bench::bytes(4 << 20))?;
            let running = Running::start(&stack, &attempt, append(&stage, 0..4 << 20));
            let result = running.end().map_err(|why| format!("{acts:?}: {why}"))?;
            failed(result, &[FailureKind::Lost]).map_err(|why| format!("{acts:?}: {why}"))?;
            let requests = stage.seen().len();
            ensure!(requests == 1, "{acts:?}: {requests} requests");
        }
    }
    for end in ends() {
        let stage = bench.stage([vec![end.clone()], vec![Act::answer(204, "")]]);
        let (request, terms) = creation(&stage);
        let result = bench.ask(&stage, request, &terms);
        failed(result, &[FailureKind::Lost]).map_err(|why| format!("{end:?}: {why}"))?;
        let requests = stage.seen().len();
        ensure!(requests == 1, "{end:?}: {requests} requests");
    }
    Ok(Outcome::Passed)
}

fn nonsense(bench: &Bench) -> Done {
    for words in ["HTTP/1.1 2", "SSH-2.0-OpenSSH\r\n\r\n", "\0\0\0\0", ""] {
        let acts = vec![Act::ReadAll, Act::Write(words.into()), Act::Close];
        let stage = bench.stage([acts, vec![Act::answer(204, "")]]);
        let stack = bench.stack(stage.authority());
        let attempt = Attempt::new("hello")?;
        let running = Running::start(&stack, &attempt, append(&stage, 0..5));
        failed(running.end()?, &[FailureKind::Lost]).map_err(|why| format!("{words:?}: {why}"))?;
        let requests = stage.seen().len();
        ensure!(requests == 1, "{words:?}: {requests} requests");
    }
    Ok(Outcome::Passed)
}

fn kept(bench: &Bench) -> Done {
    for end in ends() {
        let answer = vec![Act::ReadAll, Act::answer(204, "")];
        let stage = bench.stage([answer.clone(), vec![end.clone()], answer]);
        let stack = bench.stack(stage.authority());
        let ask = || {
            let (request, terms) = creation(&stage);
            Ok::<_, String>(stack.exchange(&Attempt::new("")?, request, &terms))
        };
        answered(ask()?)?;
        failed(ask()?, &[FailureKind::Lost]).map_err(|why| format!("{end:?}: {why}"))?;
        let requests = stage.seen().len();
        ensure!(requests == 2, "{end:?}: {requests} requests, not 2");
        answered(ask()?).map_err(|why| format!("after {end:?}: {why}"))?;
    }
    Ok(Outcome::Passed)
}

fn stale(bench: &Bench) -> Done {
    let close = vec![Act::ReadAll, Act::answer(204, ""), Act::Close];
    let stage = bench.stage([close, vec![Act::ReadAll, Act::answer(204, "")]]);
    let stack = bench.stack(stage.authority());
    let ask = || {
        let (request, terms) = append(&stage, 0..5);
        Ok::<_, String>(stack.exchange(&Attempt::new("hello")?, request, &terms))
    };
    answered(ask()?)?;
    let second = ask()?;
    if second.is_err() {
        failed(second, &[FailureKind::NotSent, FailureKind::Lost])?;
    }
    let (third, requests) = (ask()?, stage.seen().len());
    answered(third)?;
    ensure!((2..=3).contains(&requests), "{requests} requests");
    Ok(Outcome::Passed)
}

fn refused_stream(bench: &Bench) -> Done {
    let answer = vec![Act::ReadAll, Act::answer(204, "")];
    for length in [0, 5] {
        let stage = bench.stage([vec![Act::Refuse], answer.clone()]);
        let stack = bench.stack(stage.authority());
        let (request, terms) = match length {
            0 => creation(&stage),
            length => append(&stage, 0..length),
        };
        let result = stack.exchange(&Attempt::new("hello")?, request, &terms);
        failed(result, &[FailureKind::NotSent])?;
        let requests = stage.seen().len();
        ensure!(requests == 1, "{requests} requests, not 1");
    }
    Ok(Outcome::Passed)
}

fn short(bench: &Bench) -> Done {
    for at in [0, 1, 200_000] {
        breaks(bench, |source| source.ends_at(at)).map_err(|why| format!("at byte {at}: {why}"))?;
    }
    Ok(Outcome::Passed)
}

fn broken_source(bench: &Bench) -> Done {
    for at in [0, 200_000] {
        breaks(bench, |source| source.fails_at(at))
            .map_err(|why| format!("at byte {at}: {why}"))?;
    }
    Ok(Outcome::Passed)
}

fn breaks(bench: &Bench, breaking: impl FnOnce(Watched) -> Watched) -> Result<(), String> {
    const ALL: u64 = 400_000;
    // It answers only what comes to an end.
    let stage = bench.stage([vec![Act::ReadAll, Act::answer(204, "")]]);
    let (source, watch) = Watched::new(ALL);
    let attempt = Attempt::new(breaking(source))?;
    let stack = bench.stack(stage.authority());
    let running = Running::start(&stack, &attempt, append(&stage, 0..ALL));
    drop(attempt);
    failed(running.end()?, &[FailureKind::Source])?;
    ensure!(watch.is_released(), "the source is still held");
    // A stack that has sent nothing yet need not have sent the head.
    let end = stage.wait(LONG, |seen| match seen.first() {
        Some(seen) => seen.end,
        None => Some(End::Left),
    });
    ensure!(end == Some(End::Left), "the request ends as {end:?}");
    Ok(())
}

fn distrusted(bench: &Bench) -> Done {
    let stage = bench.stage([vec![Act::ReadAll, Act::answer(201, "")]]);
    let stack = bench.stack(None);
    let (request, terms) = creation(&stage);
    let result = stack.exchange(&Attempt::new("")?, request, &terms);
    failed(result, &[FailureKind::Hopeless])?;
    let before = stage.connections();
    ensure!(before == 1, "{before} connections for one request");
    let error = stack
        // Without a question for what the server offers: that one is made once, and may fail.
        .upload(
            stage.url("/files/"),
            1,
            |config| config.creation_body = 0,
            "hello",
        )
        .map(|_| "an upload succeeds".to_owned());
    match error {
        Err(tus_driver::Error::Upload(tus_proto::Error::Hopeless { .. })) => {}
        Ok(words) => return Err(words),
        Err(error) => return Err(format!("the upload ends with: {error}")),
    }
    let connections = stage.connections() - before;
    ensure!(
        connections == 1,
        "the upload made {connections} connections"
    );
    ensure!(stage.seen().is_empty(), "a request came");
    Ok(Outcome::Passed)
}
