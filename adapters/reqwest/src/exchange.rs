//! One exchange.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use reqwest::{Body, Client, Url};
use tus_driver::{AsyncTransport, Control, UploadBody, read_answer};
use tus_proto::{Failure, Terms};

use crate::failure::{failure, hopeless, redirected};

/// Longer than anyone waits, and short enough for tokio's clock.
pub(crate) const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

pub(crate) async fn exchange(
    client: &Client,
    request: Request<UploadBody>,
    terms: &Terms,
    control: &Control,
    stack: &dyn AsyncTransport,
) -> Result<Response<Bytes>, Failure> {
    let asked = request.uri().clone();
    // A wrapped body cannot be had twice, not even one of no bytes: so nothing is sent twice.
    let request = request.map(Body::wrap);
    let mut request = reqwest::Request::try_from(request).map_err(|error| failure(&error))?;
    if !asks_for(request.url(), &asked) {
        return Err(hopeless("the HTTP client would ask for another URL"));
    }
    // One for the whole request would end every long one.
    *request.timeout_mut() = Some(FOREVER);
    let url = request.url().clone();
    let answer = client.execute(request).await;
    let answer = answer.map_err(|error| failure(&error))?;
    if *answer.url() != url {
        return Err(redirected());
    }
    Ok(read_answer(answer.into(), terms, control, stack).await)
}

/// Whether reqwest's idea of a URL is still the one that was meant. It takes `%2e%2e` for `..`, and
/// resolves it; that it also escapes an apostrophe in a query changes nothing for a server.
fn asks_for(url: &Url, asked: &Uri) -> bool {
    let query = asked.query().map(|query| query.replace('\'', "%27"));
    url.path() == asked.path() && url.query() == query.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives(text: &str) -> bool {
        asks_for(&text.parse().unwrap(), &text.parse().unwrap())
    }

    #[test]
    fn a_url_that_would_change_on_the_way_is_seen() {
        for path in [
            "/",
            "//a//b//",
            "/a,b;c=d",
            "/%2F%2f%25%00",
            "/a.",
            "/...",
            "/..a/b..",
            "/$&'()*+!:@~_-",
            "/%7B%7D%7C%22",
            "/a?",
            "/a??",
            "/a?b=/../c&d=%27'",
        ] {
            assert!(survives(&format!("http://h.test{path}")), "{path}");
        }
        for path in ["/a/../b", "/a/.", "/a/%2e%2E/b", "/%2e/b", "/a\\b"] {
            assert!(!survives(&format!("http://h.test{path}")), "{path}");
        }
        assert!(survives("http://h.test:80/a") && survives("http://h.test"));
    }
}
