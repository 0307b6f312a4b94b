//! One upload: create it, find the offset, append, recover.

use http::Uri;

use crate::checkpoint::Start;
use crate::credentials::Credentials;
use crate::lane::{Lane, Phase};
use crate::line::Line;
use crate::transfer::{Step, Transfer};
use crate::wire::reference;
use crate::{Checkpoint, Config, Error, Input, Machine, Misuse, Op, Output, Tick, UploadUrl};

/// An upload of known length: a [`Machine`] that ends when the server has every byte.
///
/// It begins [at an endpoint](Self::create), [at the URL](Self::append) of an upload that exists,
/// or [where an earlier run ended](Self::resume). It needs of its source only the length; the
/// bytes are the driver's ([`Body`](crate::Body)).
///
/// ```
/// use tus_proto::{Config, Duty, Machine, Output, Tick, Upload};
///
/// let mut upload = Upload::create("https://example.org/files/", 11, &Config::default())?;
/// let Output::Begin(_, Duty::Exchange(request, _)) = upload.poll(Tick::default()) else {
///     unreachable!("an upload begins with its creation");
/// };
/// assert_eq!(request.method(), "POST");
/// assert_eq!(request.headers()["upload-length"], "11");
/// # Ok::<(), tus_proto::Misuse>(())
/// ```
#[derive(Debug)]
pub struct Upload(Lane<Transfer>);

/// What an upload comes to.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Where the upload is.
    pub url: UploadUrl,
    /// Its length in bytes.
    pub length: u64,
    /// How it is known to be complete.
    pub completion: Completion,
}

/// How an upload is known to be complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// The server said so in the answer to the request that brought the last byte.
    Acknowledged,
    /// That answer was lost, and a later HEAD found all bytes there. A server that acts on
    /// completion may have refused to, and nobody would know.
    Observed,
}

impl Upload {
    /// Creates an upload of `length` bytes at this endpoint, then sends it.
    ///
    /// User information in the URL becomes Basic credentials for its origin.
    ///
    /// # Errors
    ///
    /// Where the endpoint, a header or the metadata cannot be used.
    pub fn create(endpoint: &str, length: u64, config: &Config) -> Result<Self, Misuse> {
        let (endpoint, line) = begin(endpoint, config)?;
        let transfer = Transfer::new(Start::Endpoint(endpoint), length, config)?;
        Ok(Self(Lane::new(
            line,
            transfer,
            Phase::Ready(Step::Create),
            None,
        )))
    }

    /// Sends what is missing of `length` bytes to the upload at this URL.
    ///
    /// # Errors
    ///
    /// Where the URL or a header cannot be used.
    pub fn append(url: &str, length: u64, config: &Config) -> Result<Self, Misuse> {
        let (url, line) = begin(url, config)?;
        let transfer = Transfer::new(Start::Upload(url), length, config)?;
        Ok(Self(Lane::new(
            line,
            transfer,
            Phase::Ready(Step::Probe),
            None,
        )))
    }

    /// Goes on from where an earlier run ended. `url` is what that run began with: the endpoint, or
    /// the upload's URL.
    ///
    /// Headers and credentials are this run's, and belong to the origin of `url`, whatever the
    /// checkpoint says. Where the length or the [identity](Config::identity) are not the
    /// checkpoint's, the machine ends with [`Error::SourceChanged`] before any request; where the
    /// upload is on an origin that this run [refuses](Config::foreign), with
    /// [`Error::Location`]. The checkpoint stays.
    ///
    /// # Errors
    ///
    /// Where the URL or a header cannot be used, or the checkpoint is of an upload that began at
    /// another URL.
    pub fn resume(
        url: &str,
        checkpoint: Checkpoint,
        length: u64,
        config: &Config,
    ) -> Result<Self, Misuse> {
        let (home, mut line) = begin(url, config)?;
        if home != *checkpoint.start.uri() {
            return Err(Misuse::Checkpoint);
        }
        let saved = checkpoint.clone();
        let same = checkpoint.length == length && checkpoint.identity == config.identity;
        let location = checkpoint.url.to_string();
        let admitted = line.admit(&home, location.as_bytes());
        let url = match &admitted {
            Ok(url) => url.clone(),
            Err(_) => UploadUrl::new(checkpoint.url.clone()),
        };
        let transfer = Transfer::resume(checkpoint, url, config)?;
        let place = transfer.place(&line, Op::Probe);
        let first = match admitted {
            _ if !same => Phase::failure(Error::SourceChanged { place }),
            Err(refusal) => Phase::failure(Error::Location { place, refusal }),
            Ok(_) => Phase::Ready(Step::Probe),
        };
        Ok(Self(Lane::new(line, transfer, first, Some(saved))))
    }
}

fn begin(url: &str, config: &Config) -> Result<(Uri, Line), Misuse> {
    let (uri, user) = reference::endpoint(url)?;
    let credentials = Credentials::new(
        &uri,
        user.as_ref(),
        config.headers.clone(),
        config.foreign.clone(),
    )?;
    Ok((uri, Line::new(config, credentials)))
}

impl Machine for Upload {
    type Success = Uploaded;

    fn poll(&mut self, now: Tick) -> Output<Uploaded> {
        self.0.poll(now)
    }

    fn handle(&mut self, now: Tick, input: Input) {
        self.0.handle(now, input);
    }

    fn checkpoint(&self) -> Option<Checkpoint> {
        self.0.checkpoint()
    }
}
