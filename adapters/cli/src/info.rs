//! `tus info`: what the server knows of an upload.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tus_driver::{Canceller, Options};
use tus_proto::{Config, Inspect, Inspected, Metadata};

use crate::args::Info;
use crate::exit::Failure;
use crate::report::{Reporter, say};
use crate::text::{Line, rfc3339};
use crate::{client, output, signals};

/// How long a person waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run(args: &Info) -> Result<(), Failure> {
    let headers = args.connection.headers()?;
    let reporter = Reporter::new(0, args.connection.quiet, true);
    let canceller = Canceller::new();
    signals::watch(canceller.clone(), reporter.clone())?;
    let client = client::new(&args.connection)?;
    let mut config = Config::default();
    config.headers = headers;
    args.connection.configure(&mut config, PATIENCE);
    let machine = Inspect::new(&args.url, &config).map_err(|error| Failure::of(&error.into()))?;
    let mut options = Options::default();
    options.on_event = Some(Box::new(|event| reporter.event(event)));
    options.canceller = Some(canceller);
    let transport: Arc<dyn tus_driver::Transport> = Arc::new(client);
    let source: Arc<dyn tus_driver::Source> = Arc::new(Bytes::new());
    let inspected = tus_driver::run(machine, &transport, &source, &mut options)
        .map_err(|error| Failure::of(&error))?;
    if let Err(error) = &inspected.metadata {
        say(&format!("the server's metadata cannot be read: {error}"));
    }
    output::write(&if args.json {
        as_json(&inspected)
    } else {
        as_text(&inspected)
    })
}

fn as_json(inspected: &Inspected) -> String {
    let metadata = inspected.metadata.as_ref().ok().map(|metadata| {
        let pairs = metadata
            .iter()
            .map(|(key, value)| (key.to_owned(), value.map_or(Value::Null, as_value)));
        pairs.collect::<Map<_, _>>()
    });
    let value = json!({
        "url": inspected.url.expose(),
        "offset": inspected.offset,
        "length": inspected.length,
        "complete": inspected.complete(),
        "metadata": metadata,
        "expires": inspected.expires.map(rfc3339),
    });
    format!("{value:#}\n")
}

fn as_value(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": STANDARD.encode(value) }),
    }
}

fn as_text(inspected: &Inspected) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:10}{}", Line(value));
    };
    let number = |number: Option<u64>| number.map_or("unknown".into(), |number| number.to_string());
    line("url", &inspected.url.expose());
    line("offset", &number(inspected.offset));
    line("length", &number(inspected.length));
    line(
        "complete",
        inspected
            .complete()
            .map_or("unknown", |complete| if complete { "yes" } else { "no" }),
    );
    if let Some(expires) = inspected.expires {
        line("expires", &rfc3339(expires));
    }
    for (key, value) in inspected.metadata.iter().flat_map(Metadata::iter) {
        let value = match value.map(std::str::from_utf8) {
            None => key.to_owned(),
            Some(Ok(value)) => format!("{key} = {value}"),
            Some(Err(_)) => format!(
                "{key} = (base64) {}",
                STANDARD.encode(value.unwrap_or_default())
            ),
        };
        line("metadata", &value);
    }
    text
}
