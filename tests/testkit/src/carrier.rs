//! What carries requests: HTTP/1.1 or HTTP/2, in the clear or over TLS.

use std::fmt;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpStream};
use std::sync::Arc;

use http::uri::Scheme;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::http1::{Inbox, Line, Plain};
use crate::http2::serve_http2;
use crate::serving::{Handler, serve_http1};

/// What carries the requests between a client and a peer of this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// HTTP/1.1 in the clear.
    Http1,
    /// HTTP/2 in the clear: the client knows that it is spoken.
    Http2,
    /// HTTP/1.1 over TLS.
    Http1Tls,
    /// HTTP/2 over TLS, agreed on by ALPN.
    Http2Tls,
}

impl Carrier {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Http1, Self::Http2, Self::Http1Tls, Self::Http2Tls];

    /// Whether the bytes go over TLS.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Http1Tls | Self::Http2Tls)
    }

    /// Whether the requests are those of HTTP/2.
    #[must_use]
    pub fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2c",
            Self::Http1Tls => "http/1.1+tls",
            Self::Http2Tls => "h2+tls",
        })
    }
}

/// The certificate of an authority that was made for one peer: who trusts it trusts that peer, on
/// 127.0.0.1 and as `localhost`.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority {
    der: Vec<u8>,
    pem: String,
}

impl Authority {
    /// The certificate, as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A carrier, with what it needs on the peer's side.
#[derive(Clone, Debug)]
pub(crate) struct Carriage {
    http2: bool,
    tls: Option<(Authority, Arc<ServerConfig>)>,
}

impl Carriage {
    pub(crate) fn new(carrier: Carrier) -> Self {
        Self {
            http2: carrier.is_http2(),
            tls: carrier
                .is_tls()
                .then(|| certified(carrier).expect("a certificate can be made")),
        }
    }

    pub(crate) fn authority(&self) -> Option<&Authority> {
        self.tls.as_ref().map(|(authority, _)| authority)
    }

    pub(crate) fn serve(&self, stream: Arc<TcpStream>, handler: &Handler<'_>) {
        let config = self.tls.as_ref().map(|(_, config)| Arc::clone(config));
        match (self.http2, config) {
            (true, config) => serve_http2(stream, config, handler),
            (false, None) => serve_http1(Inbox::new(Plain(stream)), handler),
            (false, Some(config)) => {
                // Only settings that contradict each other are an error here.
                if let Ok(connection) = ServerConnection::new(config) {
                    let line = Secured(StreamOwned::new(connection, Plain(stream)));
                    serve_http1(Inbox::new(line), handler);
                }
            }
        }
    }
}

type Failed = Box<dyn std::error::Error>;

fn certified(carrier: Carrier) -> Result<(Authority, Arc<ServerConfig>), Failed> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let name = "an authority for one test";
    authority.distinguished_name.push(DnType::CommonName, name);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;

    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(["localhost".to_owned()])?;
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    leaf.subject_alt_names.push(SanType::IpAddress(address));
    let leaf = leaf.signed_by(&key, &authority)?;

    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    let protocol: &[u8] = if carrier.is_http2() {
        b"h2"
    } else {
        b"http/1.1"
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let authority = Authority {
        der: authority.as_ref().der().to_vec(),
        pem: authority.as_ref().pem(),
    };
    Ok((authority, Arc::new(config)))
}

/// Bytes as TLS makes them.
struct Secured(StreamOwned<ServerConnection, Plain>);

impl Line for Secured {
    fn stream(&self) -> &TcpStream {
        self.0.sock.stream()
    }

    fn scheme(&self) -> Scheme {
        Scheme::HTTPS
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.conn.send_close_notify();
        self.0.flush()?;
        self.stream().shutdown(Shutdown::Write)
    }
}

impl io::Read for Secured {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Secured {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
