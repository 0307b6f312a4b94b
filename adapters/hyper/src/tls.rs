//! TLS for the connections that are made here.

#[cfg(feature = "rustls")]
use std::sync::Arc;

use crate::{Client, Connector};

/// What the protocols are called in the handshake, the better one first.
#[cfg(feature = "rustls")]
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// A client that trusts whom the system trusts.
#[cfg(feature = "rustls")]
pub(crate) fn client() -> Client {
    // The provider that is built in, whatever the process has for its other needs.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(hyper_rustls::ConfigBuilderExt::try_with_platform_verifier);
    match config {
        Ok(config) => Client::with_rustls(config.with_no_client_auth()),
        Err(error) => without(&format!(
            "the root certificates of this system cannot be had: {error}; \
             install some, or use Client::with_rustls"
        )),
    }
}

/// A client that trusts whom the system trusts.
#[cfg(all(feature = "native-tls", not(feature = "rustls")))]
pub(crate) fn client() -> Client {
    let tls = native_tls::TlsConnector::builder()
        .request_alpns(&["h2", "http/1.1"])
        .build();
    match tls {
        Ok(tls) => Client::with_native_tls(tls),
        Err(error) => without(&format!("the system's TLS cannot be used: {error}")),
    }
}

/// A client for http alone.
#[cfg(not(any(feature = "rustls", feature = "native-tls")))]
pub(crate) fn client() -> Client {
    without("this HTTP client has no TLS: build it with a TLS feature, rustls or native-tls")
}

fn without(why: &str) -> Client {
    Client::own(Connector::tcp(), Some(why.to_owned()))
}

#[cfg(feature = "rustls")]
pub(crate) fn over_rustls(
    mut config: rustls::ClientConfig,
) -> hyper_rustls::HttpsConnector<Connector<hyper_util::client::legacy::connect::HttpConnector>> {
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols = PROTOCOLS.map(Vec::from).to_vec();
    }
    (Connector::below_tls(), config).into()
}

#[cfg(feature = "native-tls")]
pub(crate) fn over_native_tls(
    tls: native_tls::TlsConnector,
) -> hyper_tls::HttpsConnector<Connector<hyper_util::client::legacy::connect::HttpConnector>> {
    (Connector::below_tls(), tls.into()).into()
}
