//! The HTTP client: whom it trusts.

use std::fs;
use std::path::Path;

use tus_driver::{Call, Canceller};
use tus_ureq::Client;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use crate::args::Connection;
use crate::exit::{Failure, Status};
use crate::report::{Reporter, say};
use crate::{PATIENCE, signals};

const AGENT: &str = concat!("tus/", env!("CARGO_PKG_VERSION"));

pub(crate) fn new(args: &Connection) -> Result<Client, Failure> {
    if args.insecure {
        say(
            "warning: --insecure: certificates are not checked; whoever is on the way can read and change everything",
        );
    }
    let tls = TlsConfig::builder()
        .root_certs(roots(args.ca.as_deref())?)
        .disable_verification(args.insecure)
        .build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .user_agent(AGENT)
        .build();
    Ok(Client::with_config(config))
}

/// A call with what every one has, uploads aside, which have more: it hears of Ctrl-C, and tells what
/// happens.
pub(crate) fn settle<'a, K>(
    call: Call<'a, K>,
    connection: &Connection,
    reporter: &'a Reporter,
) -> Result<Call<'a, K>, Failure> {
    let headers = connection.headers()?;
    let canceller = Canceller::new();
    signals::watch(canceller.clone(), reporter.clone())?;
    Ok(call
        .config(|config| {
            config.headers = headers;
            connection.configure(config, PATIENCE);
        })
        .on_event(|event| reporter.event(event))
        .canceller(canceller))
}

/// A client for servers of this process: no proxy that the environment names has a part in it.
pub(crate) fn for_demo() -> Client {
    Client::with_config(
        Agent::config_builder()
            .proxy(None)
            .user_agent(AGENT)
            .build(),
    )
}

/// The system's root certificates and those of the file. Where the system has none, Mozilla's stand
/// in for them, unless there is a file.
fn roots(ca: Option<&Path>) -> Result<RootCerts, Failure> {
    let mut roots: Vec<_> = rustls_native_certs::load_native_certs()
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect();
    if let Some(path) = ca {
        let wrong = |what: &dyn std::fmt::Display| {
            Failure::new(
                Status::Usage,
                format_args!("--ca {}: {what}", path.display()),
            )
        };
        let pem = fs::read(path).map_err(|error| wrong(&error))?;
        let known = roots.len();
        for item in parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(&error))? {
                roots.push(certificate);
            }
        }
        if roots.len() == known {
            return Err(wrong(&"there is no certificate (PEM) in it"));
        }
    }
    Ok(if roots.is_empty() {
        RootCerts::WebPki
    } else {
        roots.into()
    })
}
