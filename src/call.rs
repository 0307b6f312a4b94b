//! One request, retried until it is answered.

use bytes::Bytes;
use http::{Request, Response, Uri};

use crate::credentials::Credentials;
use crate::lane::{Lane, Loss, Phase, Story, judge};
use crate::line::{Flight, Line, Spent};
use crate::verdict::{Asked, Verdict};
use crate::wire::date::Date;
use crate::wire::{reference, request, response};
use crate::{
    Body, Cancel, Cause, Checkpoint, Config, Error, FailureKind, Input, Machine, Metadata,
    MetadataError, Misuse, Op, Output, Place, Tick, UploadUrl, Violation,
};

/// A question for what the server knows of an upload: a [`Machine`] that ends with the answer.
///
/// It needs no source. See [HEAD](https://tus.io/protocols/resumable-upload#head).
#[derive(Debug)]
pub struct Inspect(Lane<Call<Inspected>>);

/// What the server knows of an upload.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Where it is, after redirects that are for good.
    pub url: UploadUrl,
    /// How many bytes the server has; `None` only for a concatenation that is not finished.
    pub offset: Option<u64>,
    /// How many bytes the whole has; `None` where that is not settled, or not said.
    pub length: Option<u64>,
    /// What its creator said of it. Of metadata that cannot be read, the reason is kept: the
    /// rest is no less true.
    pub metadata: Result<Metadata, MetadataError>,
    /// When the server will drop it, unfinished.
    pub expires: Option<Date>,
}

impl Inspected {
    /// Whether the server has every byte; `None` where it does not say.
    #[must_use]
    pub fn complete(&self) -> Option<bool> {
        Some(self.offset? == self.length?)
    }
}

impl Inspect {
    /// Asks the server at this upload's URL.
    ///
    /// # Errors
    ///
    /// Where the URL or a header cannot be used.
    pub fn new(url: &str, config: &Config) -> Result<Self, Misuse> {
        let call = |url| Call {
            op: Op::Inspect,
            url,
            ask: request::head,
            read: inspected,
        };
        Ok(Self(begin(url, config, call)?))
    }
}

impl Machine for Inspect {
    type Success = Inspected;

    fn poll(&mut self, now: Tick) -> Output<Inspected> {
        self.0.poll(now)
    }

    fn handle(&mut self, now: Tick, input: Input) {
        self.0.handle(now, input);
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.0.checkpoint()
    }
}

fn inspected(url: UploadUrl, answer: &Response<Bytes>) -> Result<Inspected, Violation> {
    let headers = answer.headers();
    let offset = response::offset(headers);
    if offset.is_none() && !response::is_final(headers) {
        return Err(Violation::NoOffset);
    }
    Ok(Inspected {
        url,
        offset,
        length: response::length(headers),
        metadata: Metadata::from_headers(headers),
        expires: response::expires(headers),
    })
}

/// The story of one request.
#[derive(Debug)]
struct Call<T> {
    op: Op,
    url: UploadUrl,
    ask: fn(&Uri) -> Request<Body>,
    read: fn(UploadUrl, &Response<Bytes>) -> Result<T, Violation>,
}

fn begin<T: std::fmt::Debug + Send + 'static>(
    url: &str,
    config: &Config,
    call: impl FnOnce(UploadUrl) -> Call<T>,
) -> Result<Lane<Call<T>>, Misuse> {
    let (url, user) = reference::endpoint(url)?;
    let credentials = Credentials::new(
        &url,
        user.as_ref(),
        config.headers.clone(),
        config.foreign.clone(),
    )?;
    let line = Line::new(config, credentials);
    Ok(Lane::new(
        line,
        call(UploadUrl::new(url)),
        Phase::Ready(()),
        None,
    ))
}

impl<T> Call<T> {
    fn place(&self, line: &Line) -> Box<Place> {
        Box::new(Place {
            op: self.op,
            url: self.url.clone(),
            attempts: line.budget.failures(),
            resumable: false,
        })
    }

    fn again(
        &self,
        line: &mut Line,
        cause: Cause,
        retry_after: Option<std::time::Duration>,
    ) -> Phase<(), T> {
        match line.fail(self.op, cause, retry_after) {
            Ok(at) => Phase::Waiting(at, ()),
            Err(spent) => Phase::failure(spent.at(self.place(line))),
        }
    }
}

impl<T: std::fmt::Debug + Send + 'static> Story for Call<T> {
    type Step = ();
    type Success = T;

    fn request(&self, (): ()) -> (Op, Request<Body>) {
        (self.op, (self.ask)(self.url.as_uri()))
    }

    fn answered(
        &mut self,
        line: &mut Line,
        (): (),
        flight: Flight,
        answer: Response<Bytes>,
    ) -> Phase<(), T> {
        let status = answer.status();
        let url = if flight.moved {
            flight.url.clone()
        } else {
            self.url.clone()
        };
        let asked = Asked {
            op: self.op,
            worked: false,
            fresh: flight.fresh,
            length: None,
        };
        match judge(line, ((), ()), &asked, &flight, &answer, |line| {
            self.place(line)
        }) {
            Err(next) => next,
            Ok(Verdict::Success) => match (self.read)(url, &answer) {
                Ok(value) => Phase::success(value),
                Err(violation) => Phase::failure(Error::Protocol {
                    place: self.place(line),
                    status,
                    violation,
                }),
            },
            Ok(Verdict::Gone) => Phase::failure(Error::Gone {
                place: self.place(line),
            }),
            Ok(_) => {
                let retry_after = response::retry_after(answer.headers());
                let words = response::said(&answer);
                self.again(line, Cause::Answered { status, words }, retry_after)
            }
        }
    }

    fn lost(&mut self, line: &mut Line, (): (), _: Flight, loss: Loss) -> Phase<(), T> {
        line.settle();
        match loss {
            Loss::Failed(failure)
                if !matches!(failure.kind, FailureKind::NotSent | FailureKind::Lost) =>
            {
                Phase::failure(Error::Hopeless {
                    place: self.place(line),
                    failure,
                })
            }
            loss => self.again(line, loss.cause(), None),
        }
    }

    fn cancelled(&mut self, line: &mut Line, _: Option<Flight>, _: Cancel) -> Phase<(), T> {
        Phase::failure(Error::Cancelled {
            place: self.place(line),
            terminated: false,
        })
    }

    fn spent(&self, line: &Line, (): (), spent: Spent) -> Error {
        spent.at(self.place(line))
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        None
    }
}
