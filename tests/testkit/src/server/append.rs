//! How uploads grow (core protocol, section "PATCH").

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};

use super::checksum::Check;
use super::fields::{number, text};
use super::refusal::{Refusal, bad, page, refuse, refuse_as};
use super::requests::answer;
use super::{Begun, Extension, Open, Purpose, Record, Server, fit};
use crate::names::{UPLOAD_LENGTH, UPLOAD_OFFSET};
use crate::{Quirk, Upload, location};

/// A body that goes to an upload.
#[derive(Debug)]
pub(super) struct Keep {
    pub(super) id: u64,
    /// How many of the bytes to come are kept.
    room: u64,
    /// How many bytes the upload can still take. `None`: the body went beyond it.
    missing: Option<u64>,
    pub(super) check: Option<Check>,
    /// What waits for its check.
    pub(super) held: Vec<u8>,
    /// The length that the request brought, and that waits with the bytes.
    length: Option<u64>,
    /// Whether the upload was not complete before, or not there.
    pub(super) fresh: bool,
    /// The answer to the creation that the body came with.
    pub(super) created: Option<Response<Bytes>>,
}

impl Server {
    pub(super) fn append(&mut self, head: &Parts, record: usize) -> Result<Begun, Refusal> {
        let id = self.found(location::target(&head.uri))?;
        Self::refuse_final(&self.uploads[&id])?;
        Self::check_media_type(&head.headers)?;
        let left = self.body_length(&head.headers)?;
        let from =
            number(&head.headers, UPLOAD_OFFSET)?.ok_or_else(|| bad("Upload-Offset is missing"))?;
        self.offered(&head.headers, UPLOAD_LENGTH, Extension::CreationDeferLength)?;
        let length = number(&head.headers, UPLOAD_LENGTH)?;
        let check = self.check(&head.headers)?;
        self.lock(id)?;
        let upload = &self.uploads[&id];
        let offset = upload.offset();
        let whole = upload.length.or(length);
        if let Some(body) = left {
            self.check_least(
                body,
                whole.map_or(u64::MAX, |whole| whole - whole.min(offset)),
            )?;
        }
        if upload.is_complete() && self.has(&Quirk::CompleteIs403) {
            return Err(refuse(StatusCode::FORBIDDEN, "the upload is complete"));
        }
        if from != offset {
            let words = format!("Upload-Offset is {from}, but the upload's is {offset}");
            return Err(refuse(StatusCode::CONFLICT, words));
        }
        self.check_length(upload, length)?;
        Self::check_fits(left, self.limit(whole).saturating_sub(from))?;

        let mut keep = self.keep(id, whole, check);
        if keep.check.is_some() {
            keep.length = length;
        } else if let Some(upload) = self.uploads.get_mut(&id) {
            upload.length = whole;
            self.join();
        }
        self.renew(id);
        self.log[record].kept = from..from;
        Ok(self.open(Open {
            record,
            left,
            purpose: Purpose::Keep(keep),
        }))
    }

    /// How many bytes an upload of this length can have.
    pub(super) fn limit(&self, length: Option<u64>) -> u64 {
        length.or(self.options.max_size).unwrap_or(u64::MAX)
    }

    /// What becomes of a body for this upload, which is to be of that length.
    pub(super) fn keep(&self, id: u64, length: Option<u64>, check: Option<Check>) -> Keep {
        let upload = &self.uploads[&id];
        let room = self.quirk(|quirk| match quirk {
            Quirk::TakesOnly(room) => Some(*room),
            _ => None,
        });
        Keep {
            id,
            room: room.unwrap_or(u64::MAX),
            missing: Some(self.limit(length).saturating_sub(upload.offset())),
            check,
            held: Vec::new(),
            length: None,
            fresh: !upload.is_complete(),
            created: None,
        }
    }

    /// Whether this upload may be said to be of that length.
    fn check_length(&self, upload: &Upload, length: Option<u64>) -> Result<(), Refusal> {
        match (upload.length, length) {
            (None, None) if self.has(&Quirk::DeferredNeedsLength) => {
                Err(bad("Upload-Length is missing"))
            }
            (_, None) => Ok(()),
            (None, Some(length)) if length < upload.offset() => {
                Err(bad("Upload-Length is less than what is there"))
            }
            (None, Some(length)) => self.check_max_size(length),
            (Some(_), Some(_)) if self.has(&Quirk::LengthOnce) => {
                Err(bad("ERR_INVALID_UPLOAD_LENGTH: the length is known"))
            }
            (Some(known), Some(length)) if known == length => Ok(()),
            (Some(known), Some(_)) => Err(bad(format!("the upload's length is {known}"))),
        }
    }

    /// Whether a body is not too long for what is in front of this server.
    pub(super) fn check_most(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let most = self.quirk(|quirk| match quirk {
            Quirk::MaxBody(most) => Some(*most),
            _ => None,
        });
        // A length that is none is for the server to refuse.
        let body = number(headers, CONTENT_LENGTH.as_str()).ok().flatten();
        match most.zip(body) {
            Some((most, body)) if body > most => Err(page(
                StatusCode::PAYLOAD_TOO_LARGE,
                "413 Request Entity Too Large",
            )),
            _ => Ok(()),
        }
    }

    /// Whether a body is of a size that this server likes, where so much of the upload is missing.
    fn check_least(&self, body: u64, missing: u64) -> Result<(), Refusal> {
        let least = self.quirk(|quirk| match quirk {
            Quirk::MinBody(least) => Some(*least),
            _ => None,
        });
        let unit = self.quirk(|quirk| match quirk {
            Quirk::BodyMultiple(unit) => Some(*unit),
            _ => None,
        });
        match (least, unit) {
            (Some(least), _) if body < least.min(missing) => Err(bad("the body is too short")),
            (_, Some(unit)) if body < missing && !body.is_multiple_of(unit) => {
                Err(bad(format!("the body must be a multiple of {unit} bytes")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn check_fits(body: Option<u64>, missing: u64) -> Result<(), Refusal> {
        if body.is_some_and(|body| body > missing) {
            return Err(beyond());
        }
        Ok(())
    }

    /// Ends a body that arrived whole.
    pub(super) fn conclude(
        &mut self,
        record: usize,
        mut keep: Keep,
    ) -> Result<Response<Bytes>, Refusal> {
        let verdict = match keep.missing {
            None => Err(beyond()),
            Some(_) => self.verify(&keep, &self.log[record].trailers),
        };
        if let Err(refusal) = verdict {
            if keep.created.is_some() && keep.check.is_some() {
                self.uploads.remove(&keep.id);
            }
            return Err(refusal);
        }
        let Some(upload) = self.uploads.get_mut(&keep.id) else {
            return Err(self.not_found(true));
        };
        upload.length = upload.length.or(keep.length);
        let held = std::mem::take(&mut keep.held);
        keep.store(upload, &mut self.log[record], &held);
        let offset = upload.offset();
        self.join();
        self.renew(keep.id);
        let mut response = match keep.created {
            Some(mut response) => {
                self.say_offset_at_creation(offset, &mut response);
                response
            }
            None => self.appended(offset),
        };
        self.announce_expiry(keep.id, &mut response);
        if keep.fresh {
            self.completed(keep.id, response)
        } else {
            Ok(response)
        }
    }

    /// What is answered to a request that may have completed an upload.
    pub(super) fn completed(
        &mut self,
        id: u64,
        response: Response<Bytes>,
    ) -> Result<Response<Bytes>, Refusal> {
        let upload = &self.uploads[&id];
        if !upload.is_complete() {
            return Ok(response);
        }
        if self.has(&Quirk::MovesCompleted) && !upload.is_partial() {
            self.deleted.insert(upload.key.clone());
            self.moved.extend(self.uploads.remove(&id));
        }
        let status = self.quirk(|quirk| match quirk {
            Quirk::RefusesCompletion(status) => Some(*status),
            _ => None,
        });
        match status {
            Some(status) => Err(refuse_as(status, "the upload is not what is wanted here")),
            None => Ok(response),
        }
    }

    fn appended(&self, offset: u64) -> Response<Bytes> {
        let status = if self.has(&Quirk::PatchAnswers200) {
            StatusCode::OK
        } else {
            StatusCode::NO_CONTENT
        };
        let mut response = answer(status);
        if !self.has(&Quirk::PatchWithoutOffset) {
            let garbage = self.quirk(|quirk| match quirk {
                Quirk::PatchOffset(offset) => Some(text(offset)),
                _ => None,
            });
            response.headers_mut().insert(
                UPLOAD_OFFSET,
                garbage.unwrap_or_else(|| self.figure(offset)),
            );
        }
        response
    }
}

impl Keep {
    /// Takes a piece of the body. `false`: the body is too long.
    pub(super) fn take(&mut self, piece: &[u8], upload: &mut Upload, record: &mut Record) -> bool {
        self.missing = self
            .missing
            .and_then(|missing| missing.checked_sub(piece.len() as u64));
        if self.missing.is_none() {
            return false;
        }
        if self.check.is_some() {
            self.held.extend_from_slice(piece);
        } else {
            self.store(upload, record, piece);
        }
        true
    }

    fn store(&mut self, upload: &mut Upload, record: &mut Record, piece: &[u8]) {
        let kept = &piece[..fit(piece, self.room)];
        self.room -= kept.len() as u64;
        upload.content.extend_from_slice(kept);
        record.kept.end += kept.len() as u64;
    }
}

fn beyond() -> Refusal {
    refuse(
        StatusCode::PAYLOAD_TOO_LARGE,
        "the body goes beyond Upload-Length",
    )
}
