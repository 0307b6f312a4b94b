//! One upload: create it, find the offset, append, recover.

use http::Uri;

use crate::checkpoint::{Kept, Start};
use crate::credentials::{Credentials, Refusal};
use crate::lane::{Lane, Phase};
use crate::line::Line;
use crate::transfer::{Step, Transfer};
use crate::wire::reference;
use crate::{
    Checkpoint, Config, Error, Input, Machine, Misuse, Op, Origin, Output, Tick, UploadUrl,
};

/// An upload: a [`Machine`] that ends when the server has every byte.
///
/// It begins [at an endpoint](Self::create), [at the URL](Self::append) of an upload that exists,
/// or [where an earlier run ended](Self::resume). It needs of its source only the length; the
/// bytes are the driver's ([`Body`](crate::Body)).
///
/// The length is `None` where the source ends where it ends, such as a pipe. The machine then asks
/// for bytes with [`Duty::Read`](crate::Duty::Read) before it sends them, and tells the server the
/// length with the last of them
/// ([`Upload-Defer-Length`](https://tus.io/protocols/resumable-upload#upload-defer-length)).
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
    /// The parts that it was joined from and that are left on the server, in order
    /// ([`Parallel`](crate::Parallel)).
    pub parts: Vec<UploadUrl>,
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
    /// Where the endpoint or an option cannot be used, or the [server](Config::server) is known not to
    /// offer what this needs.
    pub fn create(
        endpoint: &str,
        length: impl Into<Option<u64>>,
        config: &Config,
    ) -> Result<Self, Misuse> {
        let (endpoint, line) = begin(endpoint, config)?;
        let transfer = Transfer::new(Start::Endpoint(endpoint), length.into(), config)?;
        Ok(Self(Lane::new(
            line,
            transfer,
            Phase::Ready(Step::Create),
            None,
        )))
    }

    /// Sends what is missing of `length` bytes to the upload at this URL. A source of unknown length is
    /// read from its first byte on, and what the server has is dropped; where the server knows the length,
    /// the source has to end there, also if nothing is missing.
    ///
    /// # Errors
    ///
    /// Where the URL or an option cannot be used, or the [server](Config::server) is known not to
    /// offer what this needs.
    pub fn append(
        url: &str,
        length: impl Into<Option<u64>>,
        config: &Config,
    ) -> Result<Self, Misuse> {
        let (url, line) = begin(url, config)?;
        let transfer = Transfer::new(Start::Upload(url), length.into(), config)?;
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
    /// [`Error::Location`]. The checkpoint stays. An upload that has expired by the
    /// [wall clock](Config::wall_clock) is made anew, where that is allowed.
    ///
    /// A source of unknown length must give the same bytes again, from the first on: those that the
    /// server has are read and dropped. Where it ends before them, or not where an earlier run said
    /// that it does, it has changed.
    ///
    /// # Errors
    ///
    /// Where the URL or an option cannot be used, or the checkpoint is of an upload that began at
    /// another URL, or is [in parts](Checkpoint::in_parts).
    pub fn resume(
        url: &str,
        checkpoint: Checkpoint,
        length: impl Into<Option<u64>>,
        config: &Config,
    ) -> Result<Self, Misuse> {
        let length = length.into();
        let (home, mut line) = begin(url, config)?;
        if home != *checkpoint.start.uri() {
            return Err(Misuse::Checkpoint);
        }
        let same = checkpoint.identity == config.identity
            && length.is_none_or(|length| checkpoint.length().is_none_or(|kept| kept == length));
        let kept = checkpoint.clone();
        let Kept::Whole(saved) = checkpoint.kept else {
            return Err(Misuse::CheckpointKind);
        };
        let (url, refusal) = readmit(&mut line, &home, &saved.url);
        let (start, identity) = (checkpoint.start, checkpoint.identity);
        let mut transfer = Transfer::resume(start, identity, saved, url, length, config)?;
        let place = transfer.place(&line, Op::Probe);
        let first = match refusal {
            _ if !same => Phase::failure(Error::SourceChanged { place }),
            Some(refusal) => Phase::failure(Error::Location { place, refusal }),
            None => transfer.go_on(&mut line),
        };
        Ok(Self(Lane::new(line, transfer, first, Some(kept))))
    }
}

/// What an earlier run was led to is put to this run's policy.
pub(crate) fn readmit(line: &mut Line, home: &Uri, url: &Uri) -> (UploadUrl, Option<Refusal>) {
    match line.admit(home, url.to_string().as_bytes()) {
        Ok(url) => (url, None),
        Err(refusal) => (UploadUrl::from(url.clone()), Some(refusal)),
    }
}

/// Where it begins, and the line from there.
pub(crate) fn begin(url: &str, config: &Config) -> Result<(Uri, Line), Misuse> {
    let (uri, credentials) = home(url, config)?;
    Ok((uri, Line::new(config, credentials)))
}

/// The URL that the caller named, and what may be sent where from there.
pub(crate) fn home(url: &str, config: &Config) -> Result<(Uri, Credentials), Misuse> {
    let (uri, user) = reference::endpoint(url)?;
    let credentials = Credentials::new(
        Origin::of(&uri)?,
        user.as_ref(),
        config.headers.clone(),
        config.foreign.clone(),
    )?;
    Ok((uri, credentials))
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
