//! The answer of a stack whose exchanges are futures.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http::Response;
use http_body::Body;
use tus_proto::{MAX_ANSWER_BODY, Terms};

use crate::{AsyncTransport, Control};

/// How long an answer's body may take once its head is there: it holds words for people.
const WORDS: Duration = Duration::from_secs(10);

/// Reads an answer, as far as it is wanted: its head, which is a fact whatever becomes of its body, and of
/// that no more than [`MAX_ANSWER_BODY`] bytes, for no longer than ten seconds.
///
/// This is for the authors of an [`AsyncTransport`]. What is left unread should cost the connection.
pub async fn read_answer<B: Body>(
    response: Response<B>,
    terms: &Terms,
    control: &Control,
    stack: &dyn AsyncTransport,
) -> Response<Bytes> {
    let (parts, body) = response.into_parts();
    let head = Response::from_parts(parts, ());
    control.answered(&head);
    let mut body = pin!(body);
    let mut words = BytesMut::new();
    if body.is_end_stream() {
        return head.map(|()| Bytes::new());
    }
    let mut timer = stack.sleep(terms.answer.min(WORDS));
    poll_fn(|cx| {
        while words.len() < MAX_ANSWER_BODY && timer.as_mut().poll(cx).is_pending() {
            match body.as_mut().poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(mut data) = frame.into_data() {
                        let wanted = data.remaining().min(MAX_ANSWER_BODY - words.len());
                        words.extend_from_slice(&data.copy_to_bytes(wanted));
                    }
                }
                // The end, or what breaks it off.
                Poll::Ready(Some(Err(_)) | None) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    })
    .await;
    head.map(|()| words.freeze())
}
