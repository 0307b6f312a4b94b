//! A stack of futures that conforms, over HTTP/2: no more than the crate `h2` and a connection for each
//! exchange, or the last one again.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, Uri};
use http_body::Body as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;
use tus_driver::{AsyncTransport, BoxFuture, Control, UploadBody};
use tus_proto::{Failure, FailureKind, MAX_ANSWER_BODY, Terms};
use tus_testkit::Carrier;
use tus_testkit::conformance::{Setup, Subject, run_some};

/// What runs the futures, and the connections between them.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
});

struct Plain {
    tls: Option<Arc<ClientConfig>>,
    kept: Mutex<Option<SendRequest<Bytes>>>,
}

impl Plain {
    fn new(setup: &Setup) -> Self {
        Self {
            tls: setup.carrier.is_tls().then(|| Arc::new(config(setup))),
            kept: Mutex::default(),
        }
    }
}

fn config(setup: &Setup) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if let Some(authority) = &setup.authority {
        let certificate = CertificateDer::from(authority.der().to_vec());
        roots.add(certificate).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

impl AsyncTransport for Plain {
    fn exchange<'a>(
        &'a self,
        request: Request<UploadBody>,
        _terms: &'a Terms,
        control: &'a Control,
    ) -> BoxFuture<'a, Result<Response<Bytes>, Failure>> {
        Box::pin(self.carry_out(request, control))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn sends_trailers(&self) -> bool {
        true
    }
}

impl Plain {
    async fn carry_out(
        &self,
        request: Request<UploadBody>,
        control: &Control,
    ) -> Result<Response<Bytes>, Failure> {
        let mut requests = self.connection(request.uri()).await?;
        let (head, body) = request.into_parts();
        let empty = body.is_end_stream();
        let (mut answer, stream) = requests
            .send_request(Request::from_parts(head, ()), empty)
            .map_err(|error| lost(&error))?;
        let mut sending = (!empty).then(|| Box::pin(send(body, stream)));
        let answer = poll_fn(|cx| {
            let is_answered = loop {
                match answer.poll_informational(cx) {
                    Poll::Ready(Some(Ok(interim))) => control.interim(interim),
                    Poll::Ready(_) => break true,
                    Poll::Pending => break false,
                }
            };
            // Asked for the answer, h2 passes over an interim one that has come since.
            if is_answered && let Poll::Ready(answer) = Pin::new(&mut answer).poll(cx) {
                return Poll::Ready(answer.map_err(|error| lost(&error)));
            }
            if let Some(body) = &mut sending
                && let Poll::Ready(sent) = body.as_mut().poll(cx)
            {
                sending = None;
                if let Err(error) = sent {
                    return Poll::Ready(Err(Failure::new(FailureKind::Lost, error.to_string())));
                }
            }
            Poll::Pending
        });
        let (parts, words) = answer.await?.into_parts();
        let head = Response::from_parts(parts, ());
        control.answered(&head);
        let words = read(words).await;
        Ok(head.map(|()| words))
    }

    /// The connection that was used last, or a new one.
    async fn connection(&self, uri: &Uri) -> Result<SendRequest<Bytes>, Failure> {
        let kept = self.kept.lock().unwrap().take();
        let requests = match kept {
            Some(requests) => requests.ready().await.ok(),
            None => None,
        };
        let requests = match requests {
            Some(requests) => requests,
            None => self.connect(uri).await?,
        };
        *self.kept.lock().unwrap() = Some(requests.clone());
        Ok(requests)
    }

    async fn connect(&self, uri: &Uri) -> Result<SendRequest<Bytes>, Failure> {
        let not_sent = |error: io::Error| Failure::new(FailureKind::NotSent, error.to_string());
        let authority = uri.authority().unwrap();
        let stream = TcpStream::connect(authority.as_str())
            .await
            .map_err(not_sent)?;
        stream.set_nodelay(true).map_err(not_sent)?;
        match &self.tls {
            None => handshake(stream).await,
            Some(tls) => {
                let name = ServerName::try_from(authority.host().to_owned()).unwrap();
                let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream);
                handshake(stream.await.map_err(|error| refused(&error))?).await
            }
        }
    }
}

async fn handshake(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<SendRequest<Bytes>, Failure> {
    let handshake = h2::client::Builder::new().enable_push(false).handshake(io);
    let (requests, connection) = handshake.await.map_err(|error| lost(&error))?;
    tokio::spawn(connection);
    Ok(requests)
}

/// Sends the body; an error is the source's. Where the stream takes no more, the answer says why.
async fn send(mut body: UploadBody, mut stream: SendStream<Bytes>) -> io::Result<()> {
    let mut next = async || poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
    while let Some(frame) = next().await {
        match frame {
            Ok(frame) => match frame.into_data() {
                Ok(data) => {
                    if !send_piece(data, &mut stream).await {
                        return Ok(());
                    }
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let _ = stream.send_trailers(trailers);
                    return Ok(());
                }
            },
            Err(error) => {
                stream.send_reset(Reason::CANCEL);
                return Err(error);
            }
        }
    }
    let _ = stream.send_data(Bytes::new(), true);
    Ok(())
}

async fn send_piece(mut data: Bytes, stream: &mut SendStream<Bytes>) -> bool {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return false;
        };
        if stream
            .send_data(data.split_to(room.min(data.len())), false)
            .is_err()
        {
            return false;
        }
    }
    true
}

async fn read(mut body: RecvStream) -> Bytes {
    let mut words = Vec::new();
    while words.len() < MAX_ANSWER_BODY
        && let Some(Ok(data)) = body.data().await
    {
        let _ = body.flow_control().release_capacity(data.len());
        let wanted = data.len().min(MAX_ANSWER_BODY - words.len());
        words.extend_from_slice(&data[..wanted]);
    }
    words.into()
}

fn lost(error: &h2::Error) -> Failure {
    let refused = error.reason() == Some(Reason::REFUSED_STREAM);
    let kind = if refused {
        FailureKind::NotSent
    } else {
        FailureKind::Lost
    };
    Failure::new(kind, error.to_string())
}

fn refused(error: &io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let kind = match inner {
        Some(rustls::Error::InvalidCertificate(_)) => FailureKind::Hopeless,
        _ => FailureKind::NotSent,
    };
    Failure::new(kind, error.to_string())
}

#[test]
fn a_plain_stack_of_futures_conforms_over_http2() {
    let subject = Subject::asynchronous("h2", |future| RUNTIME.block_on(future), Plain::new)
        .speaks([Carrier::Http2, Carrier::Http2Tls]);
    // Nobody's adapter: it has no column in the matrix.
    let report = run_some(&subject, |_| true);
    println!("{report}");
    report.assert();
}
