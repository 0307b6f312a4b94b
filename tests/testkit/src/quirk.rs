//! The habits of real servers that a client has to live with.

use crate::Location;

/// One habit of a real server, switched on by naming it in [`Options::quirks`](crate::Options::quirks)
/// or, later, in [`Server::quirks_mut`](crate::Server::quirks_mut).
///
/// Without any, the server does what tus 1.0.0 says and no more. Where two quirks of one kind are
/// given, the first counts. What happens only once, or only to the n-th request, is a
/// [`Fault`](crate::Fault) instead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quirk {
    /// A PATCH that was taken is answered 200, not 204.
    PatchAnswers200,
    /// HEAD is answered 204, not 200.
    HeadAnswers204,
    /// OPTIONS is answered 200, not 204.
    OptionsAnswers200,
    /// A creation is answered 200, not 201; the Location is there.
    CreateAnswers200,
    /// The 2xx to a PATCH carries no `Upload-Offset`.
    PatchWithoutOffset,
    /// HEAD carries no `Upload-Length`.
    HeadWithoutLength,
    /// Errors carry no `Tus-Resumable`, as when a proxy makes them.
    ErrorsWithoutVersion,
    /// No answer carries `Tus-Resumable`.
    NoVersion,
    /// Answers carry this `Tus-Resumable`.
    OtherVersion(String),
    /// What the Location of a creation looks like; [`Location::PathAbsolute`] without this quirk.
    Location(Location),
    /// A POST to the endpoint is answered with this redirect status and this path, and uploads are
    /// created there.
    RedirectsCreation(u16, String),
    /// Of each PATCH, and of each creation with a body, only the first bytes, this many, are kept; the
    /// answer says so. With 0 the answer is a success and an unchanged offset.
    TakesOnly(u64),
    /// A request with a longer body is answered 413, in HTML and before it is read, as by a proxy with
    /// a limit to the size of requests: the server does not see it, whatever it would have said. One
    /// in chunks passes.
    MaxBody(u64),
    /// A PATCH with a shorter body is answered 400, unless it is the upload's last.
    MinBody(u64),
    /// A PATCH whose body is not a multiple of this is answered 400, unless it is the upload's last.
    BodyMultiple(u64),
    /// A PATCH to an upload that is complete is answered 403, also where it would change nothing.
    CompleteIs403,
    /// `Upload-Offset` on HEAD is this text, whatever the offset is.
    HeadOffset(String),
    /// `Upload-Offset` on a 2xx to a PATCH is this text, whatever the offset is.
    PatchOffset(String),
    /// `Upload-Length` on HEAD is this text, whatever was announced at creation. Where the length is
    /// not known yet, there is none.
    HeadLength(String),
    /// HEAD is answered 200 with a web page, and nothing of tus: a login page or a caching proxy.
    LoginPage,
    /// A deleted upload answers 410, not 404.
    DeletedIs410,
    /// An upload that is not there answers 403, not 404.
    MissingIs403,
    /// While a request is writing to an upload, PATCH and DELETE are answered with this status (423, and
    /// with some servers 409 or 403) and HEAD with the offset so far. Without this quirk the newcomer
    /// wins, as with tusd: what the other had brought is kept, and it is answered 400.
    LockedIs(u16),
    /// Only requests with exactly this `Authorization` are served, others are answered 401.
    Authorization(String),
    /// PATCH and DELETE are answered 405; they must come as a POST with `X-HTTP-Method-Override`.
    PostOnly,
    /// `X-HTTP-Method-Override` is ignored: such a request is a plain POST.
    IgnoresOverride,
    /// OPTIONS is answered with this status, 405 or 404.
    NoOptions(u16),
    /// OPTIONS says nothing of extensions, nor of algorithms for checksums.
    SilentOptions,
    /// The body of a creation is read and thrown away, though creation-with-upload is announced; the
    /// answer says `Upload-Offset: 0`, unless [`CreateWithoutOffset`](Self::CreateWithoutOffset) is on
    /// as well.
    IgnoresCreationBody,
    /// The 201 to a creation with a body carries no `Upload-Offset`.
    CreateWithoutOffset,
    /// A creation with a body is answered with this status, before the body is read, though
    /// creation-with-upload is announced. Nothing is created.
    RefusesCreationBody(u16),
    /// HEAD carries no `Upload-Defer-Length`.
    HeadWithoutDeferLength,
    /// An `Upload-Length` on a PATCH to an upload whose length is known is answered 400, even if it is
    /// the same.
    LengthOnce,
    /// A PATCH to an upload of unknown length is answered 400, unless it carries `Upload-Length`.
    DeferredNeedsLength,
    /// `Upload-Checksum` is ignored in silence, as a header and as a trailer.
    IgnoresChecksum,
    /// A body that is not what `Upload-Checksum` says is answered with this status, 417 or 400, not 460.
    MismatchIs(u16),
    /// An upload that has expired answers 404, not 410.
    ExpiredIs404,
    /// Dates are written as `Sunday, 06-Nov-94 08:49:37 GMT`.
    Rfc850Dates,
    /// Dates are written as `Sun Nov  6 08:49:37 1994`.
    AsctimeDates,
    /// Whatever carries `Upload-Concat` is answered with this status, though concatenation is announced.
    RefusesConcatenation(u16),
    /// Parts are made, but the request for the final upload is answered with this status.
    RefusesFinal(u16),
    /// The request for a final upload is answered 400, unless it names its parts by whole URLs.
    AbsoluteParts,
    /// The request for a final upload is answered 400 if it names a part by a whole URL.
    RelativeParts,
    /// The Location of a final upload is that of the first of its parts, which stays what it is.
    FinalAtPart,
    /// When a final upload is asked for, the first of its parts vanishes, and the answer is this
    /// status.
    LosesPart(u16),
    /// HEAD on a final upload that is complete carries no `Upload-Offset` the first times, this many.
    StaleFinal(u32),
    /// The request that completes an upload, a part or a final one too, is answered with this status,
    /// after all was kept.
    RefusesCompletion(u16),
    /// The request that completes an upload has it moved away: afterwards it is as if it had been
    /// deleted, but for [`Server::moved`](crate::Server::moved). Parts stay, and so does a final
    /// upload that was asked for before they were complete.
    MovesCompleted,
    /// Lists are written with a space after each comma, `Upload-Metadata` on HEAD included.
    SpacedLists,
    /// Each header of the protocol comes on two lines of one value.
    RepeatedLines,
    /// Each number of the protocol comes twice in one line, as `5, 5`: what a proxy makes of two
    /// lines.
    RepeatedValues,
    /// Header names are all lower case on the wire, not `Upload-Offset`.
    /// For [`Loopback`](crate::Loopback): in memory names have no case.
    LowerCase,
    /// Header names are all upper case on the wire, not `Upload-Offset`.
    /// For [`Loopback`](crate::Loopback): in memory names have no case.
    UpperCase,
}
