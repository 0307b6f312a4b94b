//! Over TLS, with a certificate for `localhost` that is made for each test.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tus_driver::{Canceller, Error};
use tus_proto::{Cancel, Event};
use tus_ureq::Client;
use tus_ureq::ureq::Agent;
use tus_ureq::ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::peer::Watched;

/// Takes one connection: creates an upload, and takes this much of what is appended to it. Then it
/// answers if that was all, or holds the connection as long as the peer lives.
fn server(takes: usize, all: bool) -> (String, Peer) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!(
        "https://localhost:{}/files/",
        listener.local_addr().unwrap().port()
    );
    let (tell, ended) = channel();
    let (end, wait) = channel::<()>();
    thread::spawn(move || {
        let serve = || {
            let stream = listener.accept()?.0;
            let connection = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            read_head(&mut stream)?;
            write!(
                stream,
                "HTTP/1.1 201 Created\r\nLocation: /files/1\r\nContent-Length: 0\r\n\r\n"
            )?;
            read_head(&mut stream)?;
            stream.read_exact(&mut vec![0; takes])?;
            if all {
                write!(
                    stream,
                    "HTTP/1.1 204 No Content\r\nUpload-Offset: {takes}\r\n\r\n"
                )?;
            } else {
                // Not a byte more is taken until the test is over.
                let _ = wait.recv();
            }
            stream.flush()
        };
        let ended = serve();
        let _ = tell.send(ended);
    });
    let peer = Peer {
        certificate: made.cert.pem(),
        ended,
        _end: end,
    };
    (endpoint, peer)
}

struct Peer {
    /// Its certificate, as PEM.
    certificate: String,
    /// How its connection ended.
    ended: Receiver<io::Result<()>>,
    /// Held as long as the connection is to be.
    _end: Sender<()>,
}

fn read_head(stream: &mut impl Read) -> io::Result<()> {
    let mut end = [0; 4];
    while end != *b"\r\n\r\n" {
        end.rotate_left(1);
        stream.read_exact(&mut end[3..])?;
    }
    Ok(())
}

fn trusting(peer: &Peer) -> Client {
    let authority = Certificate::from_pem(peer.certificate.as_bytes()).unwrap();
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::from(vec![authority]))
        .build();
    Client::with_config(Agent::config_builder().tls_config(tls).build())
}

#[test]
fn a_trusted_server_is_uploaded_to() {
    let (endpoint, peer) = server(1_000_000, true);
    trusting(&peer)
        .upload(endpoint)
        .config(|config| config.creation_body = 0)
        .send(vec![0; 1_000_000])
        .unwrap();
    peer.ended.recv().unwrap().unwrap();
}

#[test]
fn a_server_that_is_not_trusted_is_refused_at_once() {
    let (endpoint, peer) = server(1, true);
    let error = Client::new()
        .upload(endpoint)
        .config(|config| config.creation_body = 0)
        .send(vec![0; 1])
        .unwrap_err();
    let Error::Upload(tus_proto::Error::Hopeless { failure, .. }) = error else {
        panic!("{error}");
    };
    assert!(failure.message.contains("certificate"), "{failure}");
    assert!(peer.ended.recv().unwrap().is_err());
}

#[test]
fn a_cancel_closes_a_connection_that_is_not_read_from() {
    let (endpoint, peer) = server(1000, false);
    let (source, released) = Watched::new(vec![0; 32 << 20]);
    let canceller = Canceller::new();
    let error = trusting(&peer)
        .upload(endpoint)
        .config(|config| config.creation_body = 0)
        .canceller(canceller.clone())
        .on_event(|event| {
            if matches!(event, Event::Sent { .. }) {
                canceller.cancel(Cancel::Keep);
            }
        })
        .send(source)
        .unwrap_err();
    assert!(
        matches!(error, Error::Upload(tus_proto::Error::Cancelled { .. })),
        "{error}"
    );
    released.recv_timeout(Duration::from_secs(20)).unwrap_err();
}
