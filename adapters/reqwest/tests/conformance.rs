//! What every adapter must do. A test binary of its own: what the process holds is counted.
#![cfg(all(feature = "rustls", feature = "http2"))]

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};
use tus_reqwest::reqwest::{Certificate, ClientBuilder};
use tus_reqwest::{Client, reqwest};
use tus_testkit::Carrier;
use tus_testkit::conformance::{Ability, Setup, Subject, run};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all().build().unwrap()
});

fn settings(setup: &Setup) -> impl Fn(ClientBuilder) -> ClientBuilder + Send + Sync + 'static {
    let setup = setup.clone();
    move |builder| {
        let builder = match setup.carrier {
            Carrier::Http2 => builder.http2_prior_knowledge(),
            _ => builder,
        };
        match &setup.authority {
            Some(authority) => {
                let certificate = Certificate::from_der(authority.der()).unwrap();
                builder.tls_certs_only([certificate])
            }
            None => builder,
        }
    }
}

fn own(setup: &Setup) -> Client {
    Client::with_builder(settings(setup))
}

/// A client of the caller's, who has switched off what it must not do.
fn given(setup: &Setup) -> Client {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_gzip();
    Client::from(settings(setup)(builder).build().unwrap())
}

fn subject(name: &str, make: fn(&Setup) -> Client) -> Subject {
    let make = move |setup: &Setup| {
        let _runtime = RUNTIME.enter();
        make(setup)
    };
    Subject::asynchronous(name, |future| RUNTIME.block_on(future), make)
        .speaks(Carrier::ALL)
        .cannot(
            Ability::Interim,
            Carrier::ALL,
            "reqwest keeps interim answers to itself",
        )
        .cannot(
            Ability::Stop,
            [Carrier::Http1, Carrier::Http1Tls],
            "a connection that is blocked in a write is reqwest's to end",
        )
        .cannot(
            Ability::Endless,
            [Carrier::Http1, Carrier::Http1Tls],
            "it reads on while it has nothing to tell",
        )
}

#[test]
fn a_client_with_settings_of_its_own_conforms() {
    let report = run(&subject("reqwest", own));
    println!("{report}");
    report.assert();
}

#[test]
fn a_client_over_a_given_one_conforms() {
    let given = subject("reqwest, given", given).cannot(
        Ability::Fresh,
        Carrier::ALL,
        "the pool is that of the caller's client",
    );
    let report = run(&given);
    println!("{report}");
    report.assert();
}
