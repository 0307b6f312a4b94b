//! What is logged, by this and by all below it. A process of its own, for what subscribers want is kept for all
//! threads.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tus_hyper::hyper_util::client::legacy;
use tus_hyper::hyper_util::rt::TokioExecutor;
use tus_hyper::{Client, Connector};

use bytes::Bytes;
use http::Response;
use tokio::net::TcpListener;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Creates the upload over HTTP/2, and takes it.
async fn serve(listener: TcpListener) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let response = match request.method().as_str() {
            "POST" => Response::builder()
                .status(201)
                .header("location", "/files/1?hushed")
                .header("x-hushed", "hushed"),
            _ => Response::builder().status(204).header("upload-offset", "5"),
        };
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(Ok(piece)) = body.data().await {
                assert_eq!(piece, Bytes::from_static(b"hello"));
            }
            let response = response.body(()).unwrap();
            respond.send_response(response, true).unwrap();
        });
    }
}

// S3.
#[tokio::test]
async fn no_secret_is_logged_at_any_level() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener));
    let hyper = legacy::Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build(Connector::tcp());
    Client::from(hyper)
        .upload(format!("http://hushed:hushed@{address}/files/?hushed"))
        .header("x-token", "hushed")
        .config(|config| config.creation_body = 0)
        .send("hello")
        .await
        .unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    // They do log.
    for target in ["tus_driver", "hyper_util", "h2::"] {
        assert!(log.contains(target), "nothing of {target}");
    }
    let secrets: Vec<_> = log.lines().filter(|line| line.contains("hushed")).collect();
    assert!(secrets.is_empty(), "{secrets:#?}");
}
