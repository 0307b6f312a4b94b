//! What never comes to an end by itself.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use tus_proto::{FailureKind, Limit};

use super::bench::{
    Bench, Done, LONG, Running, SHORT, answered, creation, ensure, failed, instead,
};
use super::subject::{Ability, Attempt};
use super::{Case, HTTP1, Outcome};
use crate::stage::response;
use crate::{Act, End, Stage};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "head without end",
        "a head is read up to a bound, and then the request is lost",
        HTTP1,
        head,
    ),
    Case::new(
        "framing without end",
        "an answer whose chunks or trailers have no end is an answer",
        HTTP1,
        framing,
    ),
    Case::new(
        "interim answers without end",
        "interim answers (1xx) are no answer, however many come",
        HTTP1,
        interim,
    ),
];

/// Much longer than it takes whoever keeps an eye on the time.
const IN_TIME: Duration = Duration::from_secs(6);

fn again(words: &str) -> Act {
    // In large pieces: the bound is to be reached soon.
    Act::Again(vec![Act::Write(
        words.repeat(1 + 4_000 / words.len()).into(),
    )])
}

/// The client is the one who ends it.
fn is_left(stage: &Stage) -> Result<(), String> {
    let end = stage.wait(LONG, |seen| seen.first()?.end);
    ensure!(end == Some(End::Left), "it is still read: {end:?}");
    Ok(())
}

fn in_time(begun: Instant) -> Result<(), String> {
    let took = begun.elapsed();
    ensure!(took < IN_TIME, "it took {took:?}");
    Ok(())
}

fn head(bench: &Bench) -> Done {
    for (begins, goes_on) in [
        ("", "a"),
        ("HTTP/1.1 200 ", "O"),
        ("HTTP/1.1 201 Created\r\n", "X-Line: of more than one\r\n"),
        ("HTTP/1.1 201 Created\r\nX-Line: ", "a"),
        ("HTTP/1.1 201 Created\r\n", "a"),
    ] {
        let said = |why| format!("{begins:?}, and then {goes_on:?}: {why}");
        let acts = vec![Act::ReadAll, Act::Write(begins.into()), again(goes_on)];
        let stage = bench.stage([acts]);
        let stack = bench.stack(stage.authority());
        let attempt = Attempt::new("")?;
        let running = Running::start(&stack, &attempt, creation(&stage));
        let result = running.end().map_err(said)?;
        failed(result, &[FailureKind::Lost]).map_err(said)?;
        is_left(&stage).map_err(said)?;
        let requests = stage.seen().len();
        ensure!(requests == 1, "{requests} requests");
    }
    Ok(Outcome::Passed)
}

fn framing(bench: &Bench) -> Done {
    let chunked = response(500, &[("transfer-encoding", "chunked")], "").map(drop);
    if let Some(reason) = bench.lacks(Ability::Endless) {
        let size = "0".repeat(50_000) + "\r\n\r\n";
        let acts = [Act::ReadAll, Act::Head(chunked), Act::Write(size.into())];
        comes_after_all(bench, acts.into(), 500)?;
        return instead(
            reason,
            "framing that is long and has an end costs no answer",
        );
    }
    for (begins, goes_on) in [
        ("", "0"),
        ("1", ";a"),
        ("1;a=", "a"),
        ("5\r\nwords\r\n0\r\n", "X-Line: of more than one\r\n"),
        ("5\r\nwords\r\n0\r\nX-Line: ", "a"),
    ] {
        let said = |why| format!("{begins:?}, and then {goes_on:?}: {why}");
        let acts = vec![
            Act::ReadAll,
            Act::Head(chunked.clone()),
            Act::Write(begins.into()),
            again(goes_on),
        ];
        let stage = bench.stage([acts]);
        let stack = bench.stack(stage.authority());
        let attempt = Attempt::new("")?;
        let (request, mut terms) = creation(&stage);
        // Words may take no longer than the answer.
        terms.answer = SHORT;
        let begun = Instant::now();
        let running = Running::start(&stack, &attempt, (request, terms));
        let answer = answered(running.end().map_err(said)?).map_err(said)?;
        ensure!(answer.status() == 500, "{}", answer.status());
        let words = answer.body();
        ensure!(
            words.len() < 100,
            "{}",
            said(format!("{} bytes of words", words.len()))
        );
        is_left(&stage).map_err(said)?;
        in_time(begun).map_err(said)?;
    }
    Ok(Outcome::Passed)
}

/// Nothing is endless here: there is an answer, and nobody need leave.
fn comes_after_all(bench: &Bench, acts: Vec<Act>, status: u16) -> Result<(), String> {
    let stage = bench.stage([acts]);
    let (request, terms) = creation(&stage);
    let answer = answered(bench.ask(&stage, request, &terms))?;
    ensure!(answer.status() == status, "{}", answer.status());
    Ok(())
}

fn interim(bench: &Bench) -> Done {
    let hint: Response<Bytes> = response(103, &[("link", "<a>")], "");
    let hint = Act::Interim(hint.map(drop));
    if let Some(reason) = bench.lacks(Ability::Endless) {
        let mut acts = vec![hint; 1_000];
        acts.insert(0, Act::ReadAll);
        acts.push(Act::answer(403, ""));
        comes_after_all(bench, acts, 403)?;
        return instead(reason, "the answer is taken that comes after a thousand");
    }
    let stage = bench.stage([vec![Act::ReadAll, Act::Again(vec![hint])]]);
    let stack = bench.stack(stage.authority());
    let begun = Instant::now();
    let result = stack.upload(
        stage.url("/files/"),
        1,
        |config| {
            config.creation_body = 0;
            config.retry.attempts = Some(1);
            config.retry.base = SHORT;
            // The machine does not know when there is a connection.
            config.timeouts.connect = SHORT;
            config.timeouts.answer = SHORT;
        },
        "hello",
    );
    match result {
        Err(tus_driver::Error::Upload(tus_proto::Error::Exhausted { limit, .. })) => {
            ensure!(limit == Limit::Attempts, "{limit:?}");
        }
        Err(error) => return Err(format!("the upload ends with: {error}")),
        Ok(_) => return Err("an upload succeeds".to_owned()),
    }
    let requests = stage.seen().len();
    ensure!(requests == 2, "{requests} requests, not 2");
    is_left(&stage)?;
    in_time(begun)?;
    Ok(Outcome::Passed)
}
