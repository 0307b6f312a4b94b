//! What comes back.

use http::{HeaderValue, Response};
use tus_proto::MAX_ANSWER_BODY;

use super::bench::{
    Bench, Done, LONG, Running, Watched, answered, append, bare, creation, ensure, instead,
};
use super::subject::{Ability, Attempt};
use super::{CLEAR, Case, EVERY, Outcome};
use crate::Act;
use crate::stage::response;

pub(super) const CASES: &[Case] = &[
    Case::new(
        "every status",
        "no status is an error, and its words come with it",
        CLEAR,
        statuses,
    ),
    Case::new("redirects", "no redirect is followed", CLEAR, redirects),
    Case::new(
        "answer's fields",
        "header fields come back as they are, repeated ones too",
        CLEAR,
        fields,
    ),
    Case::new(
        "no decoding",
        "words that are encoded stay so",
        CLEAR,
        decoding,
    ),
    Case::new(
        "answer to HEAD",
        "an answer to HEAD has no body, whatever its Content-Length",
        CLEAR,
        head,
    ),
    Case::new(
        "byte by byte",
        "an answer may come byte by byte",
        CLEAR,
        trickle,
    ),
    Case::new(
        "1 GiB of words",
        "words are read up to a bound, and no further",
        CLEAR,
        flood,
    ),
    Case::new(
        "lost words",
        "an answer whose head came is an answer, whatever becomes of its words",
        CLEAR,
        lost_words,
    ),
    Case::new(
        "interim answers",
        "interim answers (1xx) are told of, and are not the answer",
        CLEAR,
        interim,
    ),
    Case::new(
        "early answer",
        "an answer that comes while the body is being sent is read then",
        EVERY,
        early,
    ),
];

fn statuses(bench: &Bench) -> Done {
    let statuses = [
        200, 201, 202, 204, 206, 299, 300, 304, 400, 401, 403, 404, 405, 407, 408, 409, 410, 412,
        413, 416, 417, 421, 423, 429, 431, 460, 499, 500, 501, 502, 503, 504, 507, 522, 599,
    ];
    let challenges = [
        ("www-authenticate", "Basic realm=\"a\""),
        ("proxy-authenticate", "Basic realm=\"a\""),
        ("retry-after", "1"),
    ];
    let lists = statuses.map(|status| {
        let answer = response(status, &challenges, "some words");
        vec![Act::ReadAll, Act::Answer(answer)]
    });
    let stage = bench.stage(lists);
    let stack = bench.stack(stage.authority());
    for (asked, status) in statuses.into_iter().enumerate() {
        let (request, terms) = append(&stage, 0..5);
        let answer = stack.exchange(&Attempt::new("hello")?, request, &terms);
        let answer = answered(answer).map_err(|why| format!("{status}: {why}"))?;
        ensure!(
            answer.status() == status,
            "{}, not {status}",
            answer.status()
        );
        let wordless = matches!(status, 204 | 304);
        let words: &[u8] = if wordless { b"" } else { b"some words" };
        ensure!(answer.body() == words, "{status}: {:?}", answer.body());
        let requests = stage.seen().len();
        ensure!(requests == asked + 1, "{status}: it was asked again");
    }
    Ok(Outcome::Passed)
}

fn redirects(bench: &Bench) -> Done {
    let elsewhere = bench.stage([vec![Act::ReadAll, Act::answer(204, "")]]);
    for status in [301, 302, 303, 307, 308] {
        for target in ["/elsewhere", &elsewhere.url("/elsewhere")] {
            let stage = bench.stage([
                vec![Act::ReadAll, Act::fields(status, &[("location", target)])],
                vec![Act::ReadAll, Act::answer(204, "")],
            ]);
            let stack = bench.stack(stage.authority());
            let source = Attempt::new("hello")?;
            let (request, terms) = if status == 307 {
                append(&stage, 0..5)
            } else {
                creation(&stage)
            };
            let answer = answered(stack.exchange(&source, request, &terms))?;
            ensure!(
                answer.status() == status,
                "{}, not {status}",
                answer.status()
            );
            let location = answer.headers().get("location");
            ensure!(
                location.is_some_and(|location| location == target),
                "{status}: Location {location:?}"
            );
            let requests = stage.seen().len() + elsewhere.seen().len();
            ensure!(requests == 1, "{status}: {requests} requests");
        }
    }
    Ok(Outcome::Passed)
}

fn fields(bench: &Bench) -> Done {
    let values = ["1", "", "2, 3", "1"].map(HeaderValue::from_static);
    let raw = HeaderValue::from_bytes(b"caf\xc3\xa9 \xff").map_err(|error| error.to_string())?;
    let long = HeaderValue::from_str(&"l".repeat(6_000)).map_err(|error| error.to_string())?;
    let mut answer = response(200, &[], "words");
    for value in &values {
        answer.headers_mut().append("x-lines", value.clone());
    }
    answer.headers_mut().insert("x-raw", raw.clone());
    answer.headers_mut().insert("x-long", long.clone());
    for n in 0..40 {
        let name =
            http::HeaderName::try_from(format!("x-{n}")).map_err(|error| error.to_string())?;
        answer.headers_mut().insert(name, HeaderValue::from(n));
    }
    let stage = bench.stage([vec![Act::ReadAll, Act::Answer(answer.clone())]]);
    let (request, terms) = creation(&stage);
    let came = answered(bench.ask(&stage, request, &terms))?;
    for name in answer.headers().keys() {
        let [came, wanted]: [Vec<_>; 2] =
            [&came, &answer].map(|answer| answer.headers().get_all(name).iter().collect());
        ensure!(came == wanted, "{name}: {came:?}, not {wanted:?}");
    }
    Ok(Outcome::Passed)
}

/// "words", as gzip has it.
const GZIP: [u8; 25] = [
    0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0x02, 0x03, 0x2b, 0xcf, 0x2f, 0x4a, 0x29, 0x06, 0, 0x8c, 0x1e,
    0x7d, 0x71, 0x05, 0, 0, 0,
];

fn decoding(bench: &Bench) -> Done {
    let encoded = [("content-encoding", "gzip")];
    let answer = response(400, &encoded, &GZIP[..]);
    let stage = bench.stage([vec![Act::ReadAll, Act::Answer(answer)]]);
    let (request, terms) = creation(&stage);
    let answer = answered(bench.ask(&stage, request, &terms))?;
    ensure!(
        answer.body() == &GZIP[..],
        "the words are {:?}",
        answer.body()
    );
    let encoding = answer.headers().get("content-encoding");
    ensure!(
        encoding.is_some_and(|encoding| encoding == "gzip"),
        "Content-Encoding: {encoding:?}"
    );
    Ok(Outcome::Passed)
}

fn head(bench: &Bench) -> Done {
    let answer = response(
        200,
        &[("upload-offset", "3"), ("content-length", "100")],
        "",
    );
    let stage = bench.stage([vec![Act::Head(answer.map(drop)), Act::Hold]]);
    let (request, terms) = bare("HEAD", &stage);
    let attempt = Attempt::new("")?;
    let stack = bench.stack(stage.authority());
    let answer = answered(Running::start(&stack, &attempt, (request, terms)).end()?)?;
    let offset = answer.headers().get("upload-offset");
    ensure!(
        offset.is_some_and(|offset| offset == "3"),
        "Upload-Offset: {offset:?}"
    );
    ensure!(answer.body().is_empty(), "a body: {:?}", answer.body());
    Ok(Outcome::Passed)
}

fn trickle(bench: &Bench) -> Done {
    let words = "words, one byte after the other";
    let acts = if bench.carrier.is_http2() {
        let answer = response(409, &[("upload-offset", "3")], "");
        vec![Act::Head(answer.map(drop)), Act::Trickle(words.into())]
    } else {
        let answer = format!(
            "HTTP/1.1 409 Conflict\r\nUpload-Offset: 3\r\nContent-Length: {}\r\n\r\n{words}",
            words.len()
        );
        vec![Act::Trickle(answer.into())]
    };
    let stage = bench.stage([acts]);
    let (request, terms) = creation(&stage);
    let answer = answered(bench.ask(&stage, request, &terms))?;
    ensure!(answer.status() == 409, "{}", answer.status());
    ensure!(answer.body() == words, "{:?}", answer.body());
    Ok(Outcome::Passed)
}

fn flood(bench: &Bench) -> Done {
    const ALL: u64 = 1 << 30;
    let framings: [&[(&str, &str)]; 2] = [&[("content-length", "1073741824")], &[]];
    for framing in framings {
        let answer = response(500, framing, "").map(drop);
        let stage = bench.stage([vec![Act::Head(answer), Act::Flood(ALL)]]);
        let (request, terms) = creation(&stage);
        let answer = answered(bench.ask(&stage, request, &terms))?;
        ensure!(answer.status() == 500, "{}", answer.status());
        let words = answer.body().len();
        ensure!(
            words == MAX_ANSWER_BODY,
            "{words} bytes of words, not {MAX_ANSWER_BODY}"
        );
        let end = stage.wait(LONG, |seen| seen.first()?.end);
        ensure!(
            end == Some(crate::End::Left),
            "all of it was read, or the rest is still waited for"
        );
    }
    Ok(Outcome::Passed)
}

fn lost_words(bench: &Bench) -> Done {
    let named: &[(&str, &str)] = &[("location", "/files/1"), ("content-length", "100")];
    for end in [Act::Reset, Act::Abort, Act::Close] {
        let stage = bench.stage([vec![
            Act::ReadAll,
            Act::Head(response(201, named, "").map(drop)),
            Act::Write("wor".into()),
            end.clone(),
        ]]);
        let (request, terms) = creation(&stage);
        let answer = answered(bench.ask(&stage, request, &terms));
        let answer = answer.map_err(|why| format!("{end:?}: {why}"))?;
        ensure!(answer.status() == 201, "{end:?}: {}", answer.status());
        ensure!(
            answer.headers().contains_key("location"),
            "{end:?}: the fields are lost"
        );
    }
    Ok(Outcome::Passed)
}

fn interim(bench: &Bench) -> Done {
    let hint = |status: u16| {
        let hint = response(status, &[("link", "<a>")], "");
        Act::Interim(hint.map(drop))
    };
    let stage = bench.stage([vec![
        hint(102),
        Act::ReadAll,
        hint(103),
        hint(103),
        Act::fields(204, &[("upload-offset", "5")]),
    ]]);
    let attempt = Attempt::new("hello")?;
    let (request, terms) = append(&stage, 0..5);
    let stack = bench.stack(stage.authority());
    let answer = answered(stack.exchange(&attempt, request, &terms))?;
    ensure!(answer.status() == 204, "the answer is {}", answer.status());
    if let Some(reason) = bench.lacks(Ability::Interim) {
        return instead(reason, "they are passed over, and the answer came");
    }
    let interims = attempt.interims();
    let statuses: Vec<_> = interims.iter().map(|one| one.status().as_u16()).collect();
    ensure!(
        statuses == [102, 103, 103],
        "interim answers 102, 103 and 103 came, and it told of {statuses:?}"
    );
    let told = |one: &Response<()>| one.headers().get("link").is_some_and(|link| link == "<a>");
    ensure!(interims.iter().all(told), "their fields are lost");
    Ok(Outcome::Passed)
}

fn early(bench: &Bench) -> Done {
    const ALL: u64 = 64 << 20;
    if let Some(reason) = bench.lacks(Ability::EarlyAnswers) {
        super::uploads::refused_in_the_middle(bench)?;
        return instead(
            reason,
            "the upload asks with a HEAD, and goes on from what the server has",
        );
    }
    let stage = bench.stage([vec![
        Act::Read(100_000),
        Act::answer(413, "too large"),
        Act::Hold,
    ]]);
    let (source, watch) = Watched::new(ALL);
    let attempt = Attempt::new(source)?;
    let stack = bench.stack(stage.authority());
    let running = Running::start(&stack, &attempt, append(&stage, 0..ALL));
    drop(attempt);
    let answer = answered(running.end()?)?;
    ensure!(answer.status() == 413, "{}", answer.status());
    ensure!(answer.body() == "too large", "{:?}", answer.body());
    ensure!(watch.read() < ALL, "all of the body was taken");
    super::uploads::refused_in_the_middle(bench)?;
    Ok(Outcome::Passed)
}
