//! `tus server`: what a server can do.

use serde_json::json;
use tus_proto::{Algorithm, Capabilities};

use crate::args::Server;
use crate::exit::{Failure, Status};
use crate::report::Reporter;
use crate::text::{self, Table};
use crate::{client, output};

pub(crate) fn run(args: &Server) -> Result<(), Failure> {
    let reporter = Reporter::new(None, args.connection.quiet, true);
    let call = client::new(&args.connection)?.discover(&args.endpoint);
    let server = client::settle(call, &args.connection, &reporter)?
        .send()
        .map_err(|error| Failure::of(&error, &args.endpoint))?;
    let is_tus = server.is_some();
    let said = Said::of(server.unwrap_or_default());
    output::write(&if args.json {
        said.as_json()
    } else {
        said.as_text()
    })?;
    if is_tus {
        return Ok(());
    }
    Err(Failure::new(
        Status::Protocol,
        "nothing in the answer is from a tus server; check that the URL is that of its endpoint",
    ))
}

/// What the server said; `None`: it does not say.
struct Said {
    versions: Option<Vec<String>>,
    extensions: Option<Vec<String>>,
    max_size: Option<u64>,
    checksums: Option<Vec<String>>,
}

impl Said {
    fn of(server: Capabilities) -> Self {
        let checksums = server.checksum_algorithms.iter().map(Algorithm::to_string);
        let some = |names: Vec<String>| Some(names).filter(|names| !names.is_empty());
        Self {
            checksums: some(checksums.collect()),
            versions: some(server.versions),
            extensions: server.extensions,
            max_size: server.max_size,
        }
    }

    fn as_json(&self) -> String {
        text::json(&json!({
            "versions": self.versions,
            "extensions": self.extensions,
            "max_size": self.max_size,
            "checksum_algorithms": self.checksums,
        }))
    }

    fn as_text(&self) -> String {
        let unsaid = || "the server does not say".into();
        let names = |names: &Option<Vec<String>>| {
            let names = names.as_ref().map(|names| names.join(", "));
            names.unwrap_or_else(unsaid)
        };
        let max_size = self.max_size.map(|bytes| format!("{bytes} bytes"));
        let mut table = Table::new(12);
        table.line("versions", &names(&self.versions));
        table.line("extensions", &names(&self.extensions));
        table.line("max size", &max_size.unwrap_or_else(unsaid));
        table.line("checksums", &names(&self.checksums));
        table.text
    }
}
