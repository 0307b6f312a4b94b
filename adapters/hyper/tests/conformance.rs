//! What every adapter must do. A test binary of its own: what the process holds is counted.
#![cfg(feature = "rustls")]

use std::sync::{Arc, LazyLock};

use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::runtime::{Builder, Runtime};
use tus_hyper::rustls::pki_types::CertificateDer;
use tus_hyper::rustls::{ClientConfig, RootCertStore, crypto};
use tus_hyper::{Client, hyper_util};
use tus_testkit::Carrier;
use tus_testkit::conformance::{Ability, Setup, Subject, run};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build().unwrap()
});

fn own(setup: &Setup) -> Client {
    let Some(authority) = &setup.authority else {
        return Client::new();
    };
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(authority.der().to_vec()))
        .unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Client::with_rustls(config)
}

/// A client of the caller's, without TLS.
fn given(setup: &Setup) -> Client {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = legacy::Client::builder(TokioExecutor::new())
        .http2_only(setup.carrier.is_http2())
        .build(connector);
    Client::from(client)
}

fn subject(name: &str, make: fn(&Setup) -> Client) -> Subject {
    let make = move |setup: &Setup| {
        let _runtime = RUNTIME.enter();
        make(setup)
    };
    Subject::asynchronous(name, |future| RUNTIME.block_on(future), make).cannot(
        Ability::Interim,
        [Carrier::Http2, Carrier::Http2Tls],
        "hyper shows interim answers over HTTP/1.1 only",
    )
}

#[test]
fn a_client_with_a_connector_of_its_own_conforms() {
    let carriers = [Carrier::Http1, Carrier::Http1Tls, Carrier::Http2Tls];
    let report = run(&subject("hyper", own).speaks(carriers));
    println!("{report}");
    report.assert();
}

#[test]
fn a_client_over_a_given_one_conforms() {
    let given = subject("hyper, given", given)
        .speaks([Carrier::Http1, Carrier::Http2])
        .cannot(
            Ability::Fresh,
            Carrier::ALL,
            "the pool is that of the caller's client",
        )
        .cannot(
            Ability::Stop,
            [Carrier::Http1],
            "a connection that is blocked in a write is the caller's client's to end",
        )
        .cannot(
            Ability::Endless,
            [Carrier::Http1],
            "hyper reads on while it has nothing to tell, and the connector is the caller's",
        );
    let report = run(&given);
    println!("{report}");
    report.assert();
}
