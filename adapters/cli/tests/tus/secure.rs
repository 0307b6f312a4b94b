//! Whom the command trusts.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tus_testkit::{Scripted, Step};

use crate::support::Place;

/// A server with a certificate of its own that answers every HEAD. Its port and its certificate.
fn server() -> (u16, String) {
    server_with(IsCa::NoCa)
}

/// The same with a certificate that is a CA's own, or is not.
fn server_with(is_ca: IsCa) -> (u16, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = is_ca;
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.der().clone()], key)
            .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = StreamOwned::new(
                ServerConnection::new(Arc::clone(&config)).unwrap(),
                stream.unwrap(),
            );
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0)
            {
                head.push(byte[0]);
            }
            if head.starts_with(b"HEAD ") {
                let answer = b"HTTP/1.1 200 OK\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 3\r\nUpload-Length: 3\r\n\r\n";
                drop(stream.write_all(answer));
                stream.conn.send_close_notify();
                drop(stream.flush());
            }
        }
    });
    (port, made.pem())
}

#[test]
fn a_certificate_is_trusted_only_where_one_says_so() {
    let place = Place::new();
    let (port, certificate) = server();
    let url = format!("https://localhost:{port}/files/1");
    fs::write(place.path("ca.pem"), certificate).unwrap();

    let ran = place.run(["info", "-q", &url]);
    assert_eq!(ran.status, Some(8), "{ran:#?}");
    assert!(
        ran.stderr.lines().count() == 1 && ran.stderr.contains("--ca"),
        "{ran:#?}"
    );

    let ran = place.run(["upload", "-q", &url, "-"]);
    assert_eq!(ran.status, Some(8), "{ran:#?}");
    assert!(ran.stderr.contains("--ca"), "{ran:#?}");

    let ran = place.run(["info", "--ca", "ca.pem", &url]);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{ran:#?}");
    assert!(ran.stdout.contains("complete  yes"), "{ran:#?}");

    let ran = place.run(["info", "--insecure", &url]);
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    assert!(
        ran.stderr.starts_with("warning: --insecure") && ran.stderr.lines().count() == 1,
        "{ran:#?}"
    );
}

#[test]
fn a_certificate_is_good_for_its_own_host_alone() {
    let place = Place::new();
    let (port, certificate) = server();
    fs::write(place.path("ca.pem"), certificate).unwrap();
    let ran = place.run([
        "info",
        "-q",
        "--ca",
        "ca.pem",
        &format!("https://127.0.0.1:{port}/files/1"),
    ]);
    assert_eq!(ran.status, Some(8), "{ran:#?}");
    assert!(!ran.stderr.contains("--ca"), "{ran:#?}");
}

#[test]
fn a_certificate_of_a_ca_is_no_servers() {
    let place = Place::new();
    let (port, certificate) = server_with(IsCa::Ca(BasicConstraints::Unconstrained));
    fs::write(place.path("ca.pem"), certificate).unwrap();
    let url = format!("https://localhost:{port}/files/1");
    for args in [&[][..], &["--ca", "ca.pem"]] {
        let ran = place.run([&["info", "-q", &url][..], args].concat());
        assert_eq!(ran.status, Some(8), "{ran:#?}");
        assert!(
            ran.stderr.lines().count() == 1 && ran.stderr.contains("basicConstraints=CA:FALSE"),
            "{ran:#?}"
        );
        assert!(!ran.stderr.contains("--ca"), "{ran:#?}");
    }
}

#[test]
fn a_server_without_tls_is_told_from_one_that_is_not_there() {
    let place = Place::new();
    // What a server makes of a handshake that it takes for a request.
    let server = Scripted::start([vec![
        Step::Read(10),
        Step::write("HTTP/1.1 400 Bad Request\r\n\r\n"),
        Step::Close,
    ]]);
    let url = server.url("/files/1").replace("http:", "https:");
    let ran = place.run(["info", "-q", &url]);
    assert_eq!(ran.status, Some(8), "{ran:#?}");
    assert!(
        ran.stderr.lines().count() == 1 && ran.stderr.contains("TLS"),
        "{ran:#?}"
    );
}
