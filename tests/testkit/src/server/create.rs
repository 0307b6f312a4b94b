//! How uploads come to be (extensions "Creation", "Creation With Upload" and "Creation Defer
//! Length").

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, LOCATION};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, Response, StatusCode};

use super::concat::Concat;
use super::fields::{number, one, text};
use super::refusal::{Refusal, bad, not_allowed, refuse, refuse_as};
use super::requests::answer;
use super::{Begun, Extension, Open, Purpose, Server};
use crate::location::{self, Base};
use crate::names::{
    OFFSET_OCTET_STREAM, UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH, UPLOAD_METADATA,
    UPLOAD_OFFSET,
};
use crate::upload::{New, parse_metadata};
use crate::{Location, Quirk, Upload};

impl Server {
    pub(super) fn create(
        &mut self,
        head: &Parts,
        record: usize,
        at_endpoint: bool,
    ) -> Result<Begun, Refusal> {
        let elsewhere = self.quirk(|quirk| match quirk {
            Quirk::RedirectsCreation(status, path) => Some((status, path)),
            _ => None,
        });
        if let Some((status, path)) = elsewhere.filter(|_| at_endpoint) {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::TEMPORARY_REDIRECT);
            return Err(refuse(status, "over there").with(LOCATION, path));
        }
        if !self.offers(Extension::Creation) {
            return Err(not_allowed("uploads are not created here"));
        }
        let body = self.body_length(&head.headers)?;
        let concat = self.concat(&head.headers)?;
        let check = self.check(&head.headers)?;
        let metadata = one(&head.headers, UPLOAD_METADATA)?;
        if let Some(metadata) = metadata {
            parse_metadata(metadata).map_err(bad)?;
        }
        let new = New {
            metadata: metadata.map(str::to_owned),
            concat: one(&head.headers, UPLOAD_CONCAT)?.map(str::to_owned),
            ..New::default()
        };
        if let Some(Concat::Final(parts)) = concat {
            let response = self.concatenate(head, &parts, body, new)?;
            return Ok(Begun::Answered(response));
        }
        let length = self.length_at_creation(&head.headers)?;
        if let Some(length) = length {
            self.check_max_size(length)?;
        }
        let kept = self.offers(Extension::CreationWithUpload);
        if kept && body != Some(0) {
            self.check_creation_body(&head.headers, body, length)?;
        }
        let check = check.filter(|_| kept);

        let (id, mut response) = self.establish(head, New { length, ..new });
        if body == Some(0) && check.is_none() {
            // With the type of one, an empty body is a body.
            if kept && Self::check_media_type(&head.headers).is_ok() {
                self.say_offset_at_creation(0, &mut response);
            }
            self.announce_expiry(id, &mut response);
            return self.completed(id, response).map(Begun::Answered);
        }
        let purpose = if kept && !self.has(&Quirk::IgnoresCreationBody) {
            let mut keep = self.keep(id, length, check);
            keep.created = Some(response);
            keep.fresh = true;
            Purpose::Keep(keep)
        } else {
            self.announce_expiry(id, &mut response);
            if kept {
                self.say_offset_at_creation(0, &mut response);
            }
            Purpose::Discard(self.completed(id, response))
        };
        Ok(self.open(Open {
            record,
            left: body,
            purpose,
        }))
    }

    /// Either a length or that there will be one.
    fn length_at_creation(&self, headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
        let deferred =
            self.offered(headers, UPLOAD_DEFER_LENGTH, Extension::CreationDeferLength)?;
        match (number(headers, UPLOAD_LENGTH)?, deferred) {
            (Some(length), None) => Ok(Some(length)),
            (None, Some("1")) => Ok(None),
            (None, None) => Err(bad("Upload-Length is missing")),
            (Some(_), Some(_)) => Err(bad("Upload-Length is there, and deferred")),
            (None, Some(_)) => Err(bad("Upload-Defer-Length is not 1")),
        }
    }

    fn check_creation_body(
        &self,
        headers: &HeaderMap,
        body: Option<u64>,
        length: Option<u64>,
    ) -> Result<(), Refusal> {
        let status = self.quirk(|quirk| match quirk {
            Quirk::RefusesCreationBody(status) => Some(*status),
            _ => None,
        });
        if let Some(status) = status {
            return Err(refuse_as(status, "a creation has no body here"));
        }
        Self::check_media_type(headers)?;
        Self::check_fits(body, self.limit(length))
    }

    pub(super) fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
        if one(headers, CONTENT_TYPE.as_str())? == Some(OFFSET_OCTET_STREAM) {
            return Ok(());
        }
        let words = format!("Content-Type must be {OFFSET_OCTET_STREAM}");
        Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, words))
    }

    /// Puts an upload where the request wanted it; gives its number and the answer that names it.
    pub(super) fn establish(&mut self, head: &Parts, new: New) -> (u64, Response<Bytes>) {
        let (id, name) = self.next_name();
        let form = self.quirk(|quirk| match quirk {
            Quirk::Location(form) => Some(form),
            _ => None,
        });
        let path = location::target(&head.uri);
        let authority = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let scheme = head.uri.scheme().or(head.extensions.get());
        let base = Base {
            scheme: scheme.map_or("http", Scheme::as_str),
            authority: authority
                .or(head.uri.authority().map(http::uri::Authority::as_str))
                .unwrap_or("localhost"),
            path,
        };
        let reference = form.unwrap_or(&Location::PathAbsolute).write(&base, &name);
        let target = location::resolve(path, reference.as_deref().unwrap_or(&name));
        self.uploads.insert(id, Upload::new(target, 0, new));
        self.renew(id);

        let created = if self.has(&Quirk::CreateAnswers200) {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        let mut response = answer(created);
        if let Some(reference) = reference {
            response.headers_mut().insert(LOCATION, text(&reference));
        }
        (id, response)
    }

    pub(super) fn say_offset_at_creation(&self, offset: u64, response: &mut Response<Bytes>) {
        if !self.has(&Quirk::CreateWithoutOffset) {
            response
                .headers_mut()
                .insert(UPLOAD_OFFSET, self.figure(offset));
        }
    }

    pub(super) fn creates_at(&self, target: &str) -> bool {
        let elsewhere = self.quirk(|quirk| match quirk {
            Quirk::RedirectsCreation(_, path) => Some(path),
            _ => None,
        });
        elsewhere.is_some_and(|path| location::key(path) == location::key(target))
    }
}
