//! Over TLS, with a certificate for `localhost` that is made for each test.

use std::future::pending;
use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tus_hyper::Client;
use tus_proto::FailureKind;

use crate::peer::{
    Watched, append, creation, exchange, listen, probe, read_head, read_out, within,
};
use crate::stop::{End, end_when};

const MUCH: usize = 64 << 20;

struct Peer {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    roots: RootCertStore,
    port: u16,
}

impl Peer {
    /// One that speaks this protocol.
    async fn speaking(protocol: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![protocol.into()];
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            port: listener.local_addr().unwrap().port(),
            listener,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            roots,
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/files/1", self.port)
    }

    async fn accept(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let (stream, _) = self.listener.accept().await.unwrap();
        self.acceptor.accept(stream).await
    }

    fn trusting(&self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth()
    }
}

#[tokio::test]
async fn a_trusted_server_is_spoken_to_as_it_likes() {
    for protocol in ["http/1.1", "h2"] {
        let peer = Peer::speaking(protocol).await;
        let client = Client::with_rustls(peer.trusting());
        let asking = exchange(&client, probe(&peer.url()), Bytes::new());
        let serving = Box::pin(async {
            let mut stream = peer.accept().await.unwrap();
            if protocol == "h2" {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let (_, mut respond) = connection.accept().await.unwrap().unwrap();
                let answer = Response::builder().status(204).body(()).unwrap();
                respond.send_response(answer, true).unwrap();
                while connection.accept().await.is_some() {}
            } else {
                read_head(&mut stream).await;
                let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
            pending().await
        });
        let answer = within(async {
            tokio::select! {
                answer = asking => answer,
                never = serving => never,
            }
        });
        assert_eq!(answer.await.unwrap().status(), 204);
    }
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_refused_at_once() {
    let peer = Peer::speaking("http/1.1").await;
    let client = Client::new();
    let asking = exchange(&client, creation(&peer.url(), 5), Bytes::new());
    let (failure, accepted) = within(async { tokio::join!(asking, peer.accept()) }).await;
    let failure = failure.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hopeless);
    assert!(failure.message.contains("certificate"), "{failure}");
    assert!(accepted.is_err());
}

#[tokio::test]
async fn tls_to_a_peer_without_it_is_hopeless() {
    let (listener, url) = listen("/files/").await;
    let client = Client::new();
    let asked = creation(&url.replace("http:", "https:"), 5);
    let serving = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 400 Bad\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    };
    let asking = exchange(&client, asked, Bytes::new());
    let (failure, _stream) = within(async { tokio::join!(asking, serving) }).await;
    let failure = failure.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Hopeless, "{failure}");
}

#[tokio::test]
async fn a_stop_ends_a_connection_that_is_not_read_from() {
    let peer = Peer::speaking("http/1.1").await;
    let client = Client::with_rustls(peer.trusting());
    let (source, released) = Watched::new(MUCH);
    let asked = append(&peer.url(), MUCH as u64);
    let coming = async {
        let mut stream = peer.accept().await.unwrap();
        read_head(&mut stream).await;
        stream
    };
    let stream = end_when(&client, asked, source, End::Stop, coming).await;
    released.soon().await;
    let (mut stream, _) = stream.into_inner();
    let (_, how) = read_out(&mut stream).await;
    assert_eq!(how.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
