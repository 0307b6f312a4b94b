//! HTTP/2 as far as a test server needs it: frames are those of the crate `h2`, and each stream is
//! served by a thread, as each connection of HTTP/1.1 is.

use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::thread;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Ping, PingPong, Reason, RecvStream, SendStream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Handle};
use tokio_rustls::TlsAcceptor;

use crate::http1::{Case, bodiless};
use crate::port::{end_with_reset, lock};
use crate::serving::{Handler, Served, Then};

/// The window of a connection: so large that one stream which is not read does not hold up the others.
const WINDOW: u32 = 64 << 20;

/// Serves a connection of HTTP/2 to its end.
pub(crate) fn serve_http2(
    stream: Arc<TcpStream>,
    tls: Option<Arc<ServerConfig>>,
    handler: &Handler<'_>,
) {
    let runtime = Builder::new_current_thread().enable_io().build();
    let runtime = runtime.expect("a runtime can be made");
    let orders = &Orders::default();
    thread::scope(|scope| {
        let begin = |request: Request<RecvStream>, respond| {
            let handle = runtime.handle().clone();
            let (head, body) = request.into_parts();
            let mut request = Request2::new(handle, head.method.clone(), body, respond);
            scope.spawn(move || {
                let then = handler(&head, &mut request);
                if let Ok(Then::Reset | Then::Refuse | Then::Abort) = then {
                    // What was sent before is not to be lost with it.
                    orders.settle();
                }
                match then {
                    Ok(Then::Next) | Err(_) => {}
                    Ok(Then::Close) => orders.give(Order::Close),
                    Ok(Then::Reset) => request.reset(Reason::INTERNAL_ERROR),
                    Ok(Then::Refuse) => request.reset(Reason::REFUSED_STREAM),
                    Ok(Then::Abort) => {
                        orders.give(Order::Abort);
                        // Let go before, the stream would be reset by itself.
                        orders.see_it_end();
                    }
                }
            });
        };
        // The client may leave at any time, and need not be trusted with a reason.
        drop(runtime.block_on(async {
            stream.set_nonblocking(true)?;
            let io = tokio::net::TcpStream::from_std(stream.try_clone()?)?;
            match tls {
                None => connection(io, orders, begin).await,
                Some(tls) => {
                    connection(TlsAcceptor::from(tls).accept(io).await?, orders, begin).await
                }
            }
        }));
        orders.over();
        if lock(&orders.given).order == Some(Order::Abort) {
            end_with_reset(&stream);
        }
        // Closed now: not only when the last stream's thread has ended.
        drop(stream);
    });
}

async fn connection(
    io: impl AsyncRead + AsyncWrite + Unpin,
    orders: &Orders,
    begin: impl Fn(Request<RecvStream>, SendResponse<Bytes>),
) -> io::Result<()> {
    let mut server = h2::server::Builder::new();
    server.initial_connection_window_size(WINDOW);
    let mut connection = server.handshake(io).await.map_err(io::Error::other)?;
    let mut pings = connection.ping_pong().ok_or(io::ErrorKind::Other)?;
    let mut closing = false;
    loop {
        let next = poll_fn(|cx| {
            match orders.heard(cx, &mut pings) {
                Some(Order::Abort) => return Poll::Ready(None),
                Some(Order::Close) if !closing => {
                    closing = true;
                    connection.graceful_shutdown();
                }
                Some(Order::Close) | None => {}
            }
            connection.poll_accept(cx)
        });
        let Some(next) = next.await else {
            return Ok(());
        };
        let (request, respond) = next.map_err(io::Error::other)?;
        begin(request, respond);
    }
}

/// What the threads of a connection's streams want of it.
#[derive(Debug, Default)]
struct Orders {
    given: Mutex<Given>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct Given {
    order: Option<Order>,
    /// How often it was asked whether the client has all that was sent, and which of these
    /// questions a ping is out for, and which were answered.
    asked: u64,
    pinged: u64,
    answered: u64,
    /// The connection has ended.
    over: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Close,
    Abort,
}

impl Orders {
    fn change(&self, change: impl FnOnce(&mut Given)) -> MutexGuard<'_, Given> {
        let mut given = lock(&self.given);
        change(&mut given);
        if let Some(waker) = given.waker.take() {
            waker.wake();
        }
        given
    }

    fn give(&self, order: Order) {
        drop(self.change(|given| given.order = given.order.max(Some(order))));
    }

    /// Waits until the client has got all that was sent: until it has answered a ping.
    fn settle(&self) {
        let mut number = 0;
        let given = self.change(|given| {
            given.asked += 1;
            number = given.asked;
        });
        let settled = self
            .settled
            .wait_while(given, |given| given.answered < number && !given.over);
        drop(settled);
    }

    /// Waits for the connection's end.
    fn see_it_end(&self) {
        let ended = self
            .settled
            .wait_while(lock(&self.given), |given| !given.over);
        drop(ended);
    }

    fn over(&self) {
        drop(self.change(|given| given.over = true));
        self.settled.notify_all();
    }

    /// The order that was given; the next one wakes.
    fn heard(&self, cx: &mut Context<'_>, pings: &mut PingPong) -> Option<Order> {
        let given = &mut *lock(&self.given);
        given.waker = Some(cx.waker().clone());
        while given.pinged > given.answered || given.asked > given.pinged {
            if given.pinged == given.answered {
                if pings.send_ping(Ping::opaque()).is_err() {
                    break;
                }
                given.pinged = given.asked;
            }
            match pings.poll_pong(cx) {
                Poll::Ready(Ok(_)) => {
                    given.answered = given.pinged;
                    self.settled.notify_all();
                }
                // The connection's end says so as well.
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        given.order
    }
}

/// A request over HTTP/2.
struct Request2 {
    handle: Handle,
    method: Method,
    body: RecvStream,
    /// What arrived and was not asked for yet.
    rest: Bytes,
    /// What was asked for last.
    piece: Bytes,
    /// There once the body has ended.
    trailers: Option<HeaderMap>,
    respond: SendResponse<Bytes>,
    answer: Option<SendStream<Bytes>>,
}

impl Request2 {
    fn new(handle: Handle, method: Method, body: RecvStream, respond: SendResponse<Bytes>) -> Self {
        Self {
            handle,
            method,
            body,
            rest: Bytes::new(),
            piece: Bytes::new(),
            trailers: None,
            respond,
            answer: None,
        }
    }

    fn reset(&mut self, reason: Reason) {
        match &mut self.answer {
            Some(answer) => answer.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    fn begin_answer(&mut self, head: Response<()>, whole: bool) -> io::Result<()> {
        let whole = whole || self.method == Method::HEAD || bodiless(head.status());
        let answer = self
            .respond
            .send_response(head, whole)
            .map_err(io::Error::other)?;
        self.answer = Some(answer).filter(|_| !whole);
        Ok(())
    }
}

impl Served for Request2 {
    fn piece(&mut self, most: u64) -> io::Result<Option<&[u8]>> {
        while self.rest.is_empty() {
            if self.trailers.is_some() {
                return Ok(None);
            }
            match self.handle.block_on(self.body.data()) {
                Some(data) => self.rest = data.map_err(io::Error::other)?,
                None => {
                    let trailers = self.handle.block_on(self.body.trailers());
                    self.trailers = Some(trailers.map_err(io::Error::other)?.unwrap_or_default());
                }
            }
        }
        let most = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .min(self.rest.len());
        self.piece = self.rest.split_to(most);
        // Only what is asked for makes room for more. A stream that has ended needs none.
        drop(self.body.flow_control().release_capacity(most));
        Ok(Some(&self.piece))
    }

    fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    fn interim(&mut self, response: &Response<()>) -> io::Result<()> {
        self.respond
            .send_informational(response.clone())
            .map_err(io::Error::other)
    }

    fn respond(&mut self, response: &Response<Bytes>, _case: Case) -> io::Result<Then> {
        let (mut head, body) = (response.clone().map(drop), response.body());
        head.headers_mut().remove(CONTENT_LENGTH);
        if !bodiless(head.status()) {
            head.headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        self.begin_answer(head, body.is_empty())?;
        if self.answer.is_some() {
            self.write(body)?;
        }
        self.end()
    }

    fn head(&mut self, response: &Response<()>) -> io::Result<()> {
        self.begin_answer(response.clone(), false)
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let answer = self.answer.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        while !bytes.is_empty() {
            answer.reserve_capacity(bytes.len());
            let room = self.handle.block_on(poll_fn(|cx| answer.poll_capacity(cx)));
            let room = room
                .ok_or(io::ErrorKind::BrokenPipe)?
                .map_err(io::Error::other)?;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            answer
                .send_data(Bytes::copy_from_slice(now), false)
                .map_err(io::Error::other)?;
            bytes = later;
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<Then> {
        if let Some(mut answer) = self.answer.take() {
            answer
                .send_data(Bytes::new(), true)
                .map_err(io::Error::other)?;
        }
        Ok(Then::Next)
    }

    fn see_it_leave(&mut self) {
        while let Ok(Some(_)) = self.piece(u64::MAX) {}
        let (respond, answer) = (&mut self.respond, &mut self.answer);
        let left = poll_fn(|cx| match answer {
            Some(answer) => answer.poll_reset(cx),
            None => respond.poll_reset(cx),
        });
        // Whether the stream was reset or its connection lost is all the same.
        drop(self.handle.block_on(left));
    }
}
