//! S3: no `Debug` and no `Display` of a public type shows a header of the user's, user information, or
//! the query of an upload's URL.

use std::fmt::Debug;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use tus_proto::{
    Answer, Cause, Checkpoint, Config, Duty, DutyId, Event, Failure, FailureKind, Input, Metadata,
    Op, Origin, Output, Role, Terms, Upload, UploadUrl, Uploaded,
};

use super::places::{Machine, checkpoint_text, start};
use super::{SECRET, answer, conceals, lost, run};
use crate::scenario::headers;

const ENDPOINT: &str = "http://s3cr3t:s3cr3t@home.test/files/?k=s3cr3t";
const URL: &str = "http://s3cr3t:s3cr3t@home.test/files/7?k=s3cr3t";

fn config() -> Config {
    let mut config = Config::default();
    config.headers = fields();
    config.metadata = metadata();
    config.parts.metadata = metadata();
    config
}

/// As a caller makes them: nothing is marked as sensitive.
fn fields() -> HeaderMap {
    headers(&[("cookie", "a=s3cr3t"), ("x-api-key", "s3cr3t")])
}

fn metadata() -> Metadata {
    let mut metadata = Metadata::new();
    metadata.insert("key", "s3cr3t").unwrap();
    metadata
}

fn url() -> UploadUrl {
    UploadUrl::from(
        "http://home.test/files/7?k=s3cr3t"
            .parse::<http::Uri>()
            .unwrap(),
    )
}

fn checkpoints() -> [Checkpoint; 2] {
    let place = "http://home.test/files/7?k=s3cr3t";
    [
        "url PLACE\nlength 5\nspoke yes\n",
        "parts 1\njoining yes\nwhole PLACE\npart 5\nurl PLACE\nspoke yes\n",
    ]
    .map(|lines| checkpoint_text(lines, "http", place).parse().unwrap())
}

fn request() -> Request<std::ops::Range<u64>> {
    let mut request = Request::post(url().as_uri()).body(0..0).unwrap();
    *request.headers_mut() = fields();
    request
}

fn response() -> Response<Bytes> {
    Response::builder()
        .status(201)
        .header("location", "/files/7?k=s3cr3t")
        .header("set-cookie", "a=s3cr3t")
        .body(Bytes::from_static(b"s3cr3t"))
        .unwrap()
}

#[track_caller]
fn shown(what: &str, value: &dyn Debug) {
    conceals(what, &format!("{value:?} {value:#?}"));
}

/// What is handed over, in and out.
#[test]
fn s3_no_value_shows_a_secret() {
    let id = DutyId { lane: 0, serial: 0 };
    let terms = || Terms::new(Op::Create);
    let refused = || Duty::Authorize {
        uri: url().as_uri().clone(),
        status: StatusCode::UNAUTHORIZED,
        challenges: vec![HeaderValue::from_static("Basic realm=s3cr3t")],
    };
    shown("Config", &config());
    shown("UploadUrl", &url());
    conceals("UploadUrl", &url().to_string());
    shown("Metadata", &metadata());
    shown(
        "Role",
        &Role::Final {
            parts: vec![url().expose()],
        },
    );
    for checkpoint in checkpoints() {
        shown("Checkpoint", &checkpoint);
        shown("Duty", &Duty::Save(Some(checkpoint)));
    }
    shown("Duty", &Duty::Exchange(request(), terms()));
    shown("Duty", &refused());
    shown(
        "Output",
        &Output::<Uploaded>::Begin(id, Duty::Exchange(request(), terms())),
    );
    shown("Output", &Output::<Uploaded>::Begin(id, refused()));
    for event in [
        Event::Created { url: url() },
        Event::Recreating { gone: url() },
        Event::PartLeft { url: url() },
        Event::Redirected {
            op: Op::Create,
            to: url(),
        },
        Event::Upgraded { url: url() },
    ] {
        shown("Event", &event);
    }
    shown("Answer", &Answer::Credentials(Some(fields())));
    shown("Answer", &Answer::Response(response()));
    shown(
        "Input",
        &Input::Answer(id, Answer::Credentials(Some(fields()))),
    );
    shown("Input", &Input::Answer(id, Answer::Response(response())));
    shown("Input", &Input::Interim(id, response().map(drop)));
    // And shows that much: whoever reads a log wants to know what it was.
    let answer = format!("{:?}", Answer::Response(response()));
    assert!(answer.contains("201"), "{answer}");
    let failed = format!(
        "{:?}",
        Answer::Failed(Failure::new(FailureKind::Lost, "why"))
    );
    assert!(
        failed.contains("Lost") && failed.contains("why"),
        "{failed}"
    );
}

/// What is refused before it begins, and what cannot be read.
#[test]
fn s3_no_misuse_shows_a_secret() {
    for endpoint in [
        "ftp://s3cr3t:s3cr3t@home.test/?s3cr3t",
        "http://s3cr3t@s3cr3t@home.test/",
        "http://s3cr3t%3a:s3cr3t@home.test/",
        "http://home.test:s3cr3t/",
        "http://s3cr3t%/",
        "http://[s3cr3t]/",
        "s3cr3t",
        "http://u:s3cr3t\n@home.test/",
    ] {
        let misuse = Upload::create(endpoint, 5, &config()).unwrap_err();
        conceals(endpoint, &format!("{misuse} {misuse:?} {misuse:#?}"));
        if let Err(error) = endpoint.parse::<Origin>() {
            conceals(endpoint, &format!("{error} {error:?}"));
        }
    }
    for lines in [
        "identity s3cr3t\n",
        "url http://s3cr3t@home.test/?s3cr3t\nlength 5\nspoke yes\n",
        "url http://home.test/?s3cr3t\nlength s3cr3t\nspoke yes\n",
        "s3cr3t\n",
    ] {
        let error = checkpoint_text(lines, "http", "")
            .parse::<Checkpoint>()
            .unwrap_err();
        conceals(lines, &format!("{error} {error:?}"));
    }
    let error = SECRET.parse::<Checkpoint>().unwrap_err();
    conceals("no checkpoint", &format!("{error} {error:?}"));
}

/// Every machine in every state, every output on the way and every end that there is.
#[test]
fn s3_no_machine_shows_a_secret() {
    let place: &[u8] = b"http://home.test/files/1?k=s3cr3t";
    let tus: (&str, &[u8]) = ("tus-resumable", b"1.0.0");
    let ends: [fn() -> Answer; 12] = [
        || answer(403, &[]),
        || answer(401, &[("www-authenticate", b"Basic realm=s3cr3t")]),
        || answer(302, &[("location", b"http://home.test/login?next=s3cr3t")]),
        || answer(307, &[("location", b"http://s3cr3t:s3cr3t@home.test/")]),
        || answer(308, &[("location", b"/files/2?k=s3cr3t")]),
        || answer(307, &[("location", b"http://evil.test/2?k=s3cr3t")]),
        || answer(410, &[]),
        || answer(503, &[]),
        || answer(503, &[("retry-after", b"86400")]),
        || answer(200, &[("tus-resumable", b"2.0.0")]),
        || answer(204, &[("upload-offset", b"99")]),
        lost,
    ];
    let fresh = headers(&[("authorization", "s3cr3t")]);
    for machine in Machine::ALL {
        for (end, unhappy) in ends.iter().enumerate() {
            // So many requests go well before.
            for well in 0..4 {
                let what = format!("{machine:?}, end {end} after {well}");
                let mut config = config();
                config.authorize = tus_proto::Authorize::OnUnauthorized;
                let mut n = 0;
                let story = start(machine, [ENDPOINT, URL], &config, Some(&fresh), |request| {
                    n += 1;
                    let to = request.body().end.to_string();
                    match request.method().as_str() {
                        _ if n > well => unhappy(),
                        "POST" => answer(201, &[("location", place), tus]),
                        "HEAD" => answer(200, &[("upload-offset", b"0"), tus]),
                        "PATCH" => answer(204, &[("upload-offset", to.as_bytes()), tus]),
                        _ => answer(204, &[tus]),
                    }
                });
                story.keeps_secrets(&what);
                for checkpoint in story.saves.iter().flatten() {
                    shown(&what, checkpoint);
                }
            }
        }
    }
    // A machine that goes on has what an earlier one left.
    for checkpoint in checkpoints()
        .into_iter()
        .filter(|checkpoint| !checkpoint.in_parts())
    {
        let home = "http://s3cr3t:s3cr3t@home.test/files/";
        let upload = Upload::resume(home, checkpoint, 5, &config()).unwrap();
        shown("resumed", &upload);
        run(upload, None, |_| answer(403, &[])).keeps_secrets("resumed");
    }
}

/// What an error is made of is not shown by the way of its cause.
#[test]
fn s3_no_cause_shows_a_secret() {
    let cause = Cause::Answered {
        status: StatusCode::FORBIDDEN,
        words: "no".to_owned(),
    };
    assert_eq!(cause.to_string(), "the server answered 403 Forbidden: no");
    let upload = Upload::create(ENDPOINT, 5, &config()).unwrap();
    let story = run(upload, None, |_| {
        answer(307, &[("location", b"http://s3cr3t:s3cr3t@home.test/")])
    });
    let mut next: Option<&dyn std::error::Error> = story.error.as_ref().map(|error| error as _);
    let mut depth = 0;
    while let Some(error) = next {
        conceals(depth, &format!("{error} {error:?}"));
        next = error.source();
        depth += 1;
    }
    assert!(depth > 0);
}
