//! `tus info`: what the server knows of an upload.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use tus_proto::{Inspected, Metadata, Role};

use crate::args::Info;
use crate::exit::Failure;
use crate::report::{Reporter, say};
use crate::text::{self, Table, rfc3339};
use crate::{client, output};

pub(crate) fn run(args: &Info) -> Result<(), Failure> {
    let reporter = Reporter::new(None, args.connection.quiet, true);
    let call = client::new(&args.connection)?.inspect(&args.url);
    let inspected = client::settle(call, &args.connection, &reporter)?
        .send()
        .map_err(|error| Failure::of(&error, &args.url))?;
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
    let (role, parts) = match &inspected.role {
        Role::Partial => ("partial", None),
        Role::Final { parts } => ("final", Some(parts)),
        _ => ("whole", None),
    };
    text::json(&json!({
        "url": inspected.url.expose(),
        "offset": inspected.offset,
        "length": inspected.length,
        "deferred": inspected.deferred,
        "complete": inspected.complete(),
        "role": role,
        "parts": parts,
        "metadata": metadata,
        "expires": inspected.expires.map(rfc3339),
    }))
}

fn as_value(value: &[u8]) -> Value {
    match std::str::from_utf8(value) {
        Ok(text) => json!({ "text": text }),
        Err(_) => json!({ "base64": STANDARD.encode(value) }),
    }
}

fn as_text(inspected: &Inspected) -> String {
    let mut table = Table::new(10);
    let number = |number: Option<u64>| number.map_or("unknown".into(), |number| number.to_string());
    table.line("url", &inspected.url.expose());
    table.line("offset", &number(inspected.offset));
    match inspected.length {
        None if inspected.deferred => table.line("length", "to be told later"),
        length => table.line("length", &number(length)),
    }
    table.line(
        "complete",
        inspected
            .complete()
            .map_or("unknown", |complete| if complete { "yes" } else { "no" }),
    );
    match &inspected.role {
        Role::Partial => table.line("role", "partial: a part of another upload"),
        Role::Final { parts } => {
            table.line("role", &format!("final: joined from {} parts", parts.len()));
        }
        _ => (),
    }
    if let Some(expires) = inspected.expires {
        table.line("expires", &rfc3339(expires));
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
        table.line("metadata", &value);
    }
    table.text
}
