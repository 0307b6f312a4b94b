//! Over TLS, with a certificate for `localhost` that is made for each test.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, pki_types::CertificateDer};
use tokio_rustls::server::TlsStream;
use tus_driver::Error;
use tus_proto::FailureKind;
use tus_reqwest::{Client, reqwest};
use tus_testkit::{Scripted, Step};

use crate::peer::{append, ask, clients, creation};
use crate::stop::{BUFFERS, LENGTH, begin_and_stop, rest};

struct Peer {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    certificate: reqwest::Certificate,
    endpoint: String,
}

impl Peer {
    /// `protocol`: what it chooses by ALPN. `asks`: for a certificate of the client's, as if it had issued
    /// them itself.
    async fn start(protocol: &str, asks: bool) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(certificate.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            config.with_no_client_auth()
        };
        let mut config = config.with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![protocol.into()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self {
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate: reqwest::Certificate::from_der(made.cert.der()).unwrap(),
            endpoint: format!("https://localhost:{port}/files/"),
        }
    }

    fn trusting(&self) -> Client {
        let certificate = self.certificate.clone();
        Client::with_builder(move |builder| builder.tls_certs_only([certificate.clone()]))
    }

    async fn accept(&self) -> io::Result<TlsStream<TcpStream>> {
        let (stream, _) = self.listener.accept().await?;
        self.acceptor.accept(stream).await
    }
}

#[tokio::test]
async fn a_trusted_server_is_uploaded_to() {
    let peer = Peer::start("http/1.1", false).await;
    let client = peer.trusting();
    let serve = async {
        let mut stream = BufReader::new(peer.accept().await.unwrap());
        let mut head = String::new();
        for (takes, said) in [
            (0, "201 Created\r\nLocation: /files/1\r\nContent-Length: 0"),
            (1_000_000, "204 No Content\r\nUpload-Offset: 1000000"),
        ] {
            while !head.ends_with("\r\n\r\n") {
                stream.read_line(&mut head).await.unwrap();
            }
            head.clear();
            stream.read_exact(&mut vec![0; takes]).await.unwrap();
            let said = format!("HTTP/1.1 {said}\r\n\r\n");
            stream.write_all(said.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
        }
        stream
    };
    let upload = client
        .upload(&peer.endpoint)
        .config(|config| config.creation_body = 0)
        .send(vec![0; 1_000_000]);
    let (done, _held) = tokio::join!(upload, serve);
    assert_eq!(done.unwrap().length, 1_000_000);
}

#[cfg(feature = "http2")]
#[tokio::test]
async fn http2_is_spoken_where_the_server_speaks_it() {
    let peer = Peer::start("h2", false).await;
    let client = peer.trusting();
    let serve = async {
        let stream = peer.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.version(), http::Version::HTTP_2);
        let answer = http::Response::builder().status(201).body(()).unwrap();
        respond.send_response(answer, true).unwrap();
        // Until the client has gone.
        assert!(connection.accept().await.is_none());
    };
    let asks = async {
        let answer = ask(&client, creation(&peer.endpoint, 5)).await.unwrap();
        assert_eq!(answer.status(), 201);
        drop(client);
    };
    tokio::join!(asks, serve);
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_refused_at_once() {
    let peer = Peer::start("http/1.1", false).await;
    for client in clients() {
        let upload = client
            .upload(&peer.endpoint)
            // Without a question before it.
            .config(|config| config.creation_body = 0)
            .send(vec![0; 1]);
        let (result, accepted) = tokio::join!(upload, peer.accept());
        let Err(Error::Upload(tus_proto::Error::Hopeless { failure, .. })) = result else {
            panic!("{result:?}");
        };
        assert!(failure.message.contains("certificate"), "{failure}");
        // It may have been told in the middle of the handshake, or when it was over.
        if let Ok(stream) = accepted {
            assert_eq!(rest(stream).await, 0);
        }
    }
}

#[tokio::test]
async fn a_client_that_the_server_does_not_trust_is_refused_at_once() {
    let peer = Peer::start("http/1.1", true).await;
    let client = peer.trusting();
    let asks = ask(&client, creation(&peer.endpoint, 5));
    let (result, accepted) = tokio::join!(asks, peer.accept());
    accepted.unwrap_err();
    let failure = result.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hopeless, "{failure}");
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_hopeless() {
    for client in clients() {
        let peer = Scripted::start([vec![
            Step::Read(10),
            Step::write("HTTP/1.1 400 Bad\r\n\r\n"),
            Step::Close,
        ]]);
        let url = peer.url("/files/").replace("http:", "https:");
        let failure = ask(&client, creation(&url, 5)).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Hopeless, "{failure}");
        assert!(failure.message.contains("no TLS"), "{failure}");
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_given_no_more_than_the_buffers_hold() {
    let peer = Peer::start("http/1.1", false).await;
    let client = peer.trusting();
    let stopped = begin_and_stop(&client, append(&peer.endpoint, LENGTH), 1 << 20);
    let (released, stream) = tokio::join!(stopped, peer.accept());
    assert!(rest(stream.unwrap()).await < BUFFERS);
    released.wait().await;
}
