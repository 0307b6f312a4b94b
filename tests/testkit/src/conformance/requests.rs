//! What goes out.

use http::HeaderValue;

use super::bench::{Bench, Done, LONG, answered, append, bare, bytes, creation, ensure, instead};
use super::subject::{Ability, Attempt};
use super::{CLEAR, Case, EVERY, HTTP1, Outcome};
use crate::{Act, Seen};

pub(super) const CASES: &[Case] = &[
    Case::new(
        "bodyless requests",
        "a request without a body says so by its Content-Length: 0, and is not chunked",
        CLEAR,
        bodyless,
    ),
    Case::new(
        "exact body",
        "a body is exactly its range of the source, with its Content-Length, unchunked",
        EVERY,
        body,
    ),
    Case::new(
        "header lines",
        "header fields go out as they are, repeated ones too, and none is added that asks for something",
        CLEAR,
        headers,
    ),
    Case::new(
        "kept connection",
        "connections are used again, unless the terms ask for a new one",
        HTTP1,
        connections,
    ),
    Case::new(
        "trailer",
        "a digest is sent after the body, where the transport says that it can",
        CLEAR,
        trailer,
    ),
    Case::new(
        "progress",
        "what is counted as sent never lags behind what has arrived, never runs far ahead, and is all in the end",
        CLEAR,
        progress,
    ),
];

/// What nobody asked for, and would change what is answered.
const UNASKED: [&str; 6] = [
    "transfer-encoding",
    "expect",
    "accept-encoding",
    "cookie",
    "te",
    "upgrade",
];

fn is_asked(seen: &Seen) -> Result<(), String> {
    for name in UNASKED {
        let value = seen.headers.get(name);
        ensure!(value.is_none(), "{name}: {value:?} was added");
    }
    Ok(())
}

fn lines(seen: &Seen, name: &str) -> Vec<HeaderValue> {
    seen.headers.get_all(name).iter().cloned().collect()
}

fn bodyless(bench: &Bench) -> Done {
    let stage = bench.stage([vec![Act::ReadAll, Act::answer(201, "")]]);
    let (request, terms) = creation(&stage);
    answered(bench.ask(&stage, request, &terms))?;
    for method in ["HEAD", "DELETE", "OPTIONS"] {
        let (request, terms) = bare(method, &stage);
        answered(bench.ask(&stage, request, &terms)).map_err(|why| format!("{method}: {why}"))?;
    }
    for seen in stage.seen() {
        let (method, lengths) = (&seen.method, lines(&seen, "content-length"));
        // Where none is asked for, this says no more than that there is no body.
        let silent = method != "POST" && lengths.is_empty();
        ensure!(
            silent || lengths == ["0"],
            "{method}: Content-Length {lengths:?}"
        );
        is_asked(&seen)?;
        let kind = seen.headers.get("content-type");
        ensure!(kind.is_none(), "{method}: Content-Type {kind:?}");
        ensure!(seen.body == 0, "{method}: a body of {} bytes", seen.body);
    }
    Ok(Outcome::Passed)
}

fn body(bench: &Bench) -> Done {
    let source = bytes(3 << 20);
    let all = source.len() as u64;
    let stage = bench.stage([vec![Act::ReadAll, Act::answer(204, "")]]);
    let stack = bench.stack(stage.authority());
    for range in [0..1, 1_000..301_007, 5..all - 5, 0..all, all - 1..all] {
        stage.forget();
        let attempt = Attempt::new(source.clone())?;
        let (request, terms) = append(&stage, range.clone());
        answered(stack.exchange(&attempt, request, &terms))?;
        let seen = stage.seen().pop().ok_or("no request")?;
        let lengths = lines(&seen, "content-length");
        let length = range.end - range.start;
        ensure!(
            lengths == [length.to_string()],
            "{range:?}: Content-Length {lengths:?}"
        );
        is_asked(&seen)?;
        ensure!(seen.body == length, "{range:?}: {} bytes came", seen.body);
        let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap_or(0));
        ensure!(
            seen.crc32 == crc32fast::hash(&source[start..end]),
            "{range:?}: other bytes came"
        );
        ensure!(
            attempt.sent().is_none_or(|sent| sent == length),
            "{range:?}: {:?} are counted as sent",
            attempt.sent()
        );
    }
    Ok(Outcome::Passed)
}

fn headers(bench: &Bench) -> Done {
    let stage = bench.stage([vec![Act::ReadAll, Act::answer(204, "")]]);
    let (mut request, terms) = bare("HEAD", &stage);
    let values = ["1", "", "2, 3", "1"].map(HeaderValue::from_static);
    for value in &values {
        request.headers_mut().append("x-lines", value.clone());
    }
    let raw = HeaderValue::from_bytes(b"caf\xc3\xa9 \xff").map_err(|error| error.to_string())?;
    let long = HeaderValue::from_str(&"l".repeat(6_000)).map_err(|error| error.to_string())?;
    request.headers_mut().insert("x-raw", raw.clone());
    request.headers_mut().insert("x-long", long.clone());
    let agent = HeaderValue::from_static("mine");
    request.headers_mut().insert("user-agent", agent.clone());
    answered(bench.ask(&stage, request, &terms))?;
    let seen = stage.seen().pop().ok_or("no request")?;
    for (name, wanted) in [
        ("x-lines", &values[..]),
        ("x-raw", &[raw]),
        ("x-long", &[long]),
        ("user-agent", &[agent]),
    ] {
        let lines = lines(&seen, name);
        ensure!(lines == wanted, "{name}: {lines:?}, not {wanted:?}");
    }
    is_asked(&seen)?;
    let hosts = lines(&seen, "host");
    let wanted = if bench.carrier.is_http2() { 0..2 } else { 1..2 };
    ensure!(wanted.contains(&hosts.len()), "Host: {hosts:?}");
    Ok(Outcome::Passed)
}

fn connections(bench: &Bench) -> Done {
    const MANY: usize = 20;
    let stage = bench.stage([vec![Act::ReadAll, Act::answer(204, "")]]);
    let stack = bench.stack(stage.authority());
    let ask = |fresh: bool| {
        let (request, mut terms) = creation(&stage);
        terms.fresh = fresh;
        answered(stack.exchange(&Attempt::new("")?, request, &terms))?;
        Ok::<_, String>(stage.connections())
    };
    // A pool may not have one back yet when the next is asked for.
    let mut before = 0;
    for _ in 0..MANY {
        before = ask(false)?;
    }
    ensure!(before < MANY, "{before} connections for {MANY} requests");
    let fresh = ask(true)?;
    if let Some(reason) = bench.lacks(Ability::Fresh) {
        return instead(reason, "the request is answered all the same");
    }
    ensure!(fresh > before, "no new connection where one was asked for");
    Ok(Outcome::Passed)
}

fn trailer(bench: &Bench) -> Done {
    let stage = bench.stage([vec![Act::ReadAll, Act::answer(204, "")]]);
    let stack = bench.stack(stage.authority());
    if !stack.sends_trailers() {
        super::uploads::with_a_digest_before(bench)?;
        return instead(
            "it says that it sends no trailers",
            "the digest goes before the body, which is read twice",
        );
    }
    let source = bytes(300_000);
    let attempt = Attempt::new(source.clone())?;
    let (mut request, mut terms) = append(&stage, 0..300_000);
    terms.trailer = Some(tus_proto::Algorithm::SHA1);
    request.headers_mut().remove("content-length");
    let trailer = HeaderValue::from_static("Upload-Checksum");
    request.headers_mut().insert("trailer", trailer);
    answered(stack.exchange(&attempt, request, &terms))?;
    let seen = stage.seen().pop().ok_or("no request")?;
    ensure!(
        seen.body == 300_000 && seen.crc32 == crc32fast::hash(&source),
        "{} bytes came",
        seen.body
    );
    let digest = crate::checksum("sha1", &source).ok_or("no digest")?;
    let wanted = format!("sha1 {}", base64(&digest));
    let lines: Vec<_> = seen.trailers.get_all("upload-checksum").iter().collect();
    ensure!(
        lines == [&wanted],
        "{lines:?} came after the body, not {wanted}"
    );
    Ok(Outcome::Passed)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn progress(bench: &Bench) -> Done {
    const SOME: u64 = 200_000;
    /// More than the buffers of systems and stacks hold.
    const ALL: u64 = 64 << 20;
    let stage = bench.stage([vec![
        Act::Read(SOME),
        Act::Hold,
        Act::ReadAll,
        Act::answer(204, ""),
    ]]);
    let (source, _) = super::bench::Watched::new(ALL);
    let attempt = Attempt::new(source)?;
    let stack = bench.stack(stage.authority());
    let running = super::bench::Running::start(&stack, &attempt, append(&stage, 0..ALL));
    let arrived = stage.wait(LONG, |seen| {
        let seen = seen.first()?;
        (seen.body == SOME || seen.end.is_some()).then_some(seen.body)
    });
    ensure!(arrived == Some(SOME), "{arrived:?} bytes came, not {SOME}");
    let first = attempt.sent();
    stage.go_on();
    answered(running.end()?)?;
    let last = attempt.sent();
    let (Some(first), Some(last)) = (first, last) else {
        let why = "it does not report what it sends";
        return instead(why, "all of it came; it is given time by the body's length");
    };
    ensure!(
        first >= SOME,
        "{first} are counted as sent when {SOME} have come"
    );
    ensure!(first < ALL, "all are counted as sent when {SOME} have come");
    ensure!(
        last == ALL,
        "{last} are counted as sent in the end, of {ALL}"
    );
    Ok(Outcome::Passed)
}
