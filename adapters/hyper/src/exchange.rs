//! One exchange.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Extensions, Request, Response, StatusCode};
use hyper::ext::on_informational;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use tus_driver::{AsyncTransport, Control, UploadBody, read_answer};
use tus_proto::{Failure, Terms};

use crate::failure::{failure, not_sent};
use crate::line::Grip;
use crate::stack::Requests;

pub(crate) async fn exchange(
    requests: &dyn Requests,
    mut request: Request<UploadBody>,
    terms: &Terms,
    control: &Control,
    stack: &dyn AsyncTransport,
) -> Result<Response<Bytes>, Failure> {
    let listener = control.clone();
    on_informational(&mut request, move |interim| {
        let mut response = Response::new(());
        *response.status_mut() = interim.status();
        *response.version_mut() = interim.version();
        response.headers_mut().clone_from(interim.headers());
        listener.interim(response);
    });
    let connection = capture_connection(&mut request);
    let mut asked = pin!(requests.request(request, terms));
    let mut connecting = pin!(stack.sleep(terms.connect));
    // The first to be dropped: hyper, once it is let go of, would end the connection in all politeness.
    let mut held = Held::new(connection.clone());
    // That an answer came before the end of the body is a reason too. That none came is not.
    let failed = Arc::new(AtomicBool::new(false));
    control.on_stop({
        let failed = Arc::clone(&failed);
        move || {
            if !failed.load(Ordering::SeqCst) {
                break_off(&connection);
            }
        }
    });
    let answer = poll_fn(|cx| {
        let polled = asked.as_mut().poll(cx);
        let connected = held.look();
        if polled.is_pending() && !connected {
            let timeout = connecting.as_mut().poll(cx);
            return timeout.map(|()| Err(not_sent("no connection in time")));
        }
        // Where one that was found closed is to be replaced, it is still the one that is known.
        polled.map_err(|error| failure(&error, connected && !error.is_connect()))
    })
    .await;
    let answer = match answer {
        Ok(answer) => read_answer(answer, terms, control, stack).await,
        Err(failure) => {
            // The pool knows itself what is of no more use. Over HTTP/2 it may be the stream alone.
            failed.store(true, Ordering::SeqCst);
            held.well = true;
            return Err(failure);
        }
    };
    // Whoever asks again is to ask on another connection.
    held.well = answer.status() != StatusCode::MISDIRECTED_REQUEST;
    Ok(answer)
}

/// The connection that an exchange is on. Unless all went well, it takes no other exchange after this,
/// and ends with those that are on it.
struct Held {
    connection: CaptureConnection,
    grip: Option<Grip>,
    well: bool,
}

impl Held {
    fn new(connection: CaptureConnection) -> Self {
        Self {
            connection,
            grip: None,
            well: false,
        }
    }

    /// Whether there is a connection. It may be another one than before, where the first was found to
    /// be closed before the request went out.
    fn look(&mut self) -> bool {
        let grip = grip(&self.connection);
        let same = match (&grip, &self.grip) {
            (Some(now), Some(before)) => now.is(before),
            (now, before) => now.is_none() && before.is_none(),
        };
        if !same {
            if let Some(before) = &self.grip {
                before.leave();
            }
            if let Some(now) = &grip {
                now.take();
            }
            self.grip = grip;
        }
        self.connection.connection_metadata().is_some()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.well {
            break_off(&self.connection);
        }
        if let Some(grip) = &self.grip {
            grip.leave();
        }
    }
}

fn break_off(connection: &CaptureConnection) {
    if let Some(connected) = &*connection.connection_metadata() {
        connected.poison();
    }
    if let Some(grip) = grip(connection) {
        grip.taint();
    }
}

/// `None`: it is not a connection of ours, or there is none yet.
fn grip(connection: &CaptureConnection) -> Option<Grip> {
    let connected = connection.connection_metadata();
    let mut extras = Extensions::new();
    connected.as_ref()?.get_extras(&mut extras);
    extras.remove()
}
