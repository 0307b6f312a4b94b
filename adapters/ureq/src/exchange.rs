//! One exchange.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tus_driver::Control;
use tus_proto::{Body, Failure, FailureKind, MAX_ANSWER_BODY, Terms};
use ureq::config::AutoHeaderValue;
use ureq::{Agent, AsSendBody, ResponseExt, SendBody};

use crate::failure::failure;

/// Longer than anyone waits: ureq's clock overflows on `Duration::MAX`.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// How long an answer's body may take once its head is there: it holds words for people.
const WORDS: Duration = Duration::from_secs(10);

pub(crate) fn exchange(
    agent: &Agent,
    request: Request<Body>,
    terms: &Terms,
    body: &mut dyn Read,
    control: &Control,
) -> Result<Response<Bytes>, Failure> {
    let url = request.uri().clone();
    let (head, range) = request.into_parts();
    let mut body = control.counted(body);
    let answer = if range.is_empty() {
        // `()`, or a reader of no bytes, would be sent chunked.
        let request = Request::from_parts(head, SendBody::none());
        agent.run(on_terms(agent, request, terms))
    } else {
        let request = Request::from_parts(head, SendBody::from_reader(&mut body));
        agent.run(on_terms(agent, request, terms))
    };
    let answer = answer.map_err(|error| failure(&error, body.taken() > 0))?;
    // One that a middleware made has no history. `get_uri` would panic there.
    let asked = answer.get_redirect_history().and_then(<[_]>::last);
    if asked.is_some_and(|asked| *asked != url) {
        return Err(Failure::new(
            FailureKind::Hopeless,
            "something in the HTTP client follows redirects: turn that off",
        ));
    }
    let (parts, body) = answer.into_parts();
    let head = Response::from_parts(parts, ());
    control.answered(&head);
    let mut words = Vec::new();
    let bound = u64::try_from(MAX_ANSWER_BODY).unwrap_or(u64::MAX);
    // The head is a fact, whatever becomes of the words. What is left unread closes the connection.
    let _ = body.into_reader().take(bound).read_to_end(&mut words);
    Ok(head.map(|()| Bytes::from(words)))
}

/// Overrules what the agent is set to where an upload needs something else.
fn on_terms<B: AsSendBody>(agent: &Agent, request: Request<B>, terms: &Terms) -> Request<B> {
    let limit = |duration: Duration| Some(duration.min(FOREVER));
    let settings = agent
        .configure_request(request)
        .max_redirects(0)
        .save_redirect_history(true)
        .http_status_as_error(false)
        .accept_encoding(AutoHeaderValue::None)
        .timeout_global(None)
        .timeout_per_call(None)
        .timeout_resolve(limit(terms.connect))
        .timeout_connect(limit(terms.connect))
        .timeout_send_request(limit(terms.stall))
        .timeout_send_body(None)
        .timeout_per_write(limit(terms.stall))
        .timeout_per_read(None)
        .timeout_recv_response(limit(terms.answer))
        .timeout_recv_body(limit(terms.answer.min(WORDS)));
    if terms.fresh {
        // Every connection in the pool is too old.
        settings.max_idle_age(Duration::ZERO).build()
    } else {
        settings.build()
    }
}
