//! What every adapter must do. A test binary of its own: what the process holds is counted.

use tus_testkit::Carrier;
use tus_testkit::conformance::{Ability, Setup, Subject, run};
use tus_ureq::Client;
use tus_ureq::ureq::Agent;
use tus_ureq::ureq::config::Config;

#[cfg(any(feature = "rustls", feature = "native-tls"))]
const CARRIERS: &[Carrier] = &[Carrier::Http1, Carrier::Http1Tls];
#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
const CARRIERS: &[Carrier] = &[Carrier::Http1];

fn config(setup: &Setup) -> Config {
    let config = Agent::config_builder();
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    let config = {
        use tus_ureq::ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

        let mut tls = TlsConfig::builder();
        if cfg!(not(feature = "rustls")) {
            tls = tls.provider(TlsProvider::NativeTls);
        }
        if let Some(authority) = &setup.authority {
            let certificate = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
            tls = tls.root_certs(RootCerts::from(vec![certificate]));
        }
        config.tls_config(tls.build())
    };
    #[cfg(not(any(feature = "rustls", feature = "native-tls")))]
    let _ = setup;
    config.build()
}

fn subject(name: &str, make: fn(&Setup) -> Client) -> Subject {
    Subject::blocking(name, make)
        .speaks(CARRIERS.iter().copied())
        .cannot(
            Ability::EarlyAnswers,
            Carrier::ALL,
            "ureq reads nothing before it has written the whole body",
        )
        .cannot(
            Ability::Interim,
            Carrier::ALL,
            "ureq keeps interim answers to itself",
        )
}

#[test]
fn a_client_with_agents_of_its_own_conforms() {
    let report = run(&subject("ureq", |setup| Client::with_config(config(setup))));
    println!("{report}");
    report.assert();
}

#[test]
fn a_client_over_a_given_agent_conforms() {
    let given = subject("ureq, given", |setup| {
        Client::from(Agent::from(config(setup)))
    })
    .cannot(
        Ability::Stop,
        Carrier::ALL,
        "an agent of the caller's may have other things to do",
    );
    let report = run(&given);
    println!("{report}");
    report.assert();
}
