//! What the server makes of each kind of request.

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, LOCATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use super::fields::{content_length, number, one, text};
use super::refusal::{Refusal, bad, not_allowed, page, refuse};
use super::{Begun, Extension, Open, Purpose, Server};
use crate::location::{self, Base};
use crate::names::{
    CACHE_CONTROL, METHOD_OVERRIDE, OFFSET_OCTET_STREAM, TUS_EXTENSION, TUS_MAX_SIZE,
    TUS_RESUMABLE, TUS_VERSION, UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH, UPLOAD_METADATA,
    UPLOAD_OFFSET, VERSION,
};
use crate::upload::parse_metadata;
use crate::{Location, Quirk, Upload};

impl Server {
    pub(super) fn dispatch(&mut self, head: &Parts, record: usize) -> Result<Begun, Refusal> {
        let method = self.method(head)?;
        self.log[record].method = method.clone();
        let authorization = self.quirk(|quirk| match quirk {
            Quirk::Authorization(value) => Some(value),
            _ => None,
        });
        if authorization.is_some_and(|value| {
            head.headers
                .get(AUTHORIZATION)
                .is_none_or(|sent| sent != value.as_str())
        }) {
            let refusal = refuse(StatusCode::UNAUTHORIZED, "who are you?");
            return Err(refusal.with(WWW_AUTHENTICATE, "Bearer"));
        }
        if method == Method::HEAD && self.has(&Quirk::LoginPage) {
            return Err(page(StatusCode::OK, "Please log in"));
        }
        if method != Method::OPTIONS && one(&head.headers, TUS_RESUMABLE)? != Some(VERSION) {
            let refusal = refuse(
                StatusCode::PRECONDITION_FAILED,
                "this server speaks tus 1.0.0",
            );
            return Err(refusal.with(HeaderName::from_static(TUS_VERSION), VERSION));
        }
        let target = location::target(&head.uri);
        let at_endpoint = location::key(target) == location::key(&self.options.endpoint);
        match method {
            Method::OPTIONS => Ok(Begun::Answered(self.options())),
            Method::POST if at_endpoint || self.creates_at(target) => {
                self.create(head, record, at_endpoint)
            }
            Method::HEAD => self.found(target).map(|id| {
                if !self.has(&Quirk::LockedIs423) {
                    self.displace(id);
                }
                Begun::Answered(self.inspect(&self.uploads[&id]))
            }),
            Method::PATCH => self.append(head, record),
            Method::DELETE if self.options.extensions.contains(&Extension::Termination) => {
                let id = self.found(target)?;
                self.lock(id)?;
                self.remove(target);
                Ok(Begun::Answered(answer(StatusCode::NO_CONTENT)))
            }
            _ => Err(not_allowed("not for this resource")),
        }
    }

    /// The method that is meant (core protocol, section "X-HTTP-Method-Override").
    fn method(&self, head: &Parts) -> Result<Method, Refusal> {
        let overriding =
            one(&head.headers, METHOD_OVERRIDE)?.filter(|_| !self.has(&Quirk::IgnoresOverride));
        match (overriding, &head.method) {
            (None, &Method::PATCH | &Method::DELETE) if self.has(&Quirk::PostOnly) => {
                Err(not_allowed("only POST comes through"))
            }
            (None, method) => Ok(method.clone()),
            (Some("PATCH"), &Method::POST) => Ok(Method::PATCH),
            (Some("DELETE"), &Method::POST) => Ok(Method::DELETE),
            _ => Err(bad(
                "X-HTTP-Method-Override is for PATCH or DELETE on a POST",
            )),
        }
    }

    fn options(&self) -> Response<Bytes> {
        let status = if self.has(&Quirk::OptionsAnswers200) {
            StatusCode::OK
        } else {
            StatusCode::NO_CONTENT
        };
        let mut response = answer(status);
        let headers = response.headers_mut();
        headers.insert(TUS_VERSION, HeaderValue::from_static(VERSION));
        let names: Vec<_> = self
            .options
            .extensions
            .iter()
            .map(|extension| extension.name())
            .collect();
        if !names.is_empty() {
            headers.insert(TUS_EXTENSION, text(&self.list(&names.join(","))));
        }
        if let Some(max) = self.options.max_size {
            headers.insert(TUS_MAX_SIZE, self.figure(max));
        }
        response
    }

    fn create(&mut self, head: &Parts, record: usize, at_endpoint: bool) -> Result<Begun, Refusal> {
        let elsewhere = self.quirk(|quirk| match quirk {
            Quirk::RedirectsCreation(status, path) => Some((status, path)),
            _ => None,
        });
        if let Some((status, path)) = elsewhere.filter(|_| at_endpoint) {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::TEMPORARY_REDIRECT);
            return Err(refuse(status, "over there").with(LOCATION, path));
        }
        if !self.options.extensions.contains(&Extension::Creation) {
            return Err(not_allowed("uploads are not created here"));
        }
        let body = content_length(&head.headers)?;
        for name in [UPLOAD_DEFER_LENGTH, UPLOAD_CONCAT] {
            if head.headers.contains_key(name) {
                return Err(bad(format!(
                    "{name} is of an extension that this server does not have"
                )));
            }
        }
        let length =
            number(&head.headers, UPLOAD_LENGTH)?.ok_or_else(|| bad("Upload-Length is missing"))?;
        let metadata = one(&head.headers, UPLOAD_METADATA)?;
        if let Some(metadata) = metadata {
            parse_metadata(metadata).map_err(bad)?;
        }
        let metadata = metadata.map(str::to_owned);
        if self.options.max_size.is_some_and(|max| length > max) {
            return Err(refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the upload is longer than Tus-Max-Size",
            ));
        }

        let (id, name) = self.next_name();
        let form = self.quirk(|quirk| match quirk {
            Quirk::Location(form) => Some(form),
            _ => None,
        });
        let path = location::target(&head.uri);
        let authority = head.headers.get(HOST).and_then(|host| host.to_str().ok());
        let base = Base {
            scheme: head.uri.scheme_str().unwrap_or("http"),
            authority: authority
                .or(head.uri.authority().map(http::uri::Authority::as_str))
                .unwrap_or("localhost"),
            path,
        };
        let reference = form.unwrap_or(&Location::PathAbsolute).write(&base, &name);
        let target = location::resolve(path, reference.as_deref().unwrap_or(&name));
        self.uploads
            .insert(id, Upload::new(target, length, 0, metadata));

        let created = if self.has(&Quirk::CreateAnswers200) {
            StatusCode::OK
        } else {
            StatusCode::CREATED
        };
        let mut response = answer(created);
        if let Some(reference) = reference {
            response.headers_mut().insert(LOCATION, text(&reference));
        }
        if body == 0 {
            return Ok(Begun::Answered(response));
        }
        Ok(self.open(Open {
            record,
            left: body,
            purpose: Purpose::Discard(response),
        }))
    }

    fn inspect(&self, upload: &Upload) -> Response<Bytes> {
        let status = if self.has(&Quirk::HeadAnswers204) {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::OK
        };
        let mut response = answer(status);
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let offset = self.quirk(|quirk| match quirk {
            Quirk::HeadOffset(offset) => Some(text(offset)),
            _ => None,
        });
        headers.insert(
            UPLOAD_OFFSET,
            offset.unwrap_or_else(|| self.figure(upload.offset())),
        );
        if !self.has(&Quirk::HeadWithoutLength) {
            let length = self.quirk(|quirk| match quirk {
                Quirk::HeadLength(length) => Some(text(length)),
                _ => None,
            });
            headers.insert(
                UPLOAD_LENGTH,
                length.unwrap_or_else(|| self.figure(upload.length)),
            );
        }
        if let Some(metadata) = &upload.metadata {
            headers.insert(UPLOAD_METADATA, text(&self.list(metadata)));
        }
        response
    }

    fn append(&mut self, head: &Parts, record: usize) -> Result<Begun, Refusal> {
        let id = self.found(location::target(&head.uri))?;
        if one(&head.headers, CONTENT_TYPE.as_str())? != Some(OFFSET_OCTET_STREAM) {
            let words = format!("Content-Type must be {OFFSET_OCTET_STREAM}");
            return Err(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, words));
        }
        let left = content_length(&head.headers)?;
        let from =
            number(&head.headers, UPLOAD_OFFSET)?.ok_or_else(|| bad("Upload-Offset is missing"))?;
        self.lock(id)?;
        let upload = &self.uploads[&id];
        self.check_size(left, upload.length - upload.offset())?;
        if upload.is_complete() && self.has(&Quirk::CompleteIs403) {
            return Err(refuse(StatusCode::FORBIDDEN, "the upload is complete"));
        }
        if from != upload.offset() {
            let words = format!(
                "Upload-Offset is {from}, but the upload's is {}",
                upload.offset()
            );
            return Err(refuse(StatusCode::CONFLICT, words));
        }
        if left > upload.length - from {
            return Err(refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body goes beyond Upload-Length",
            ));
        }
        let room = self.quirk(|quirk| match quirk {
            Quirk::TakesOnly(room) => Some(*room),
            _ => None,
        });
        self.log[record].kept = from..from;
        Ok(self.open(Open {
            record,
            left,
            purpose: Purpose::Append {
                id,
                room: room.unwrap_or(u64::MAX),
            },
        }))
    }

    /// Whether a body is of a size that this server likes, where so much of the upload is missing.
    fn check_size(&self, body: u64, missing: u64) -> Result<(), Refusal> {
        for quirk in &self.options.quirks {
            match quirk {
                Quirk::MaxBody(most) if body > *most => {
                    return Err(page(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "413 Request Entity Too Large",
                    ));
                }
                Quirk::MinBody(least) if body < (*least).min(missing) => {
                    return Err(bad("the body is too short"));
                }
                Quirk::BodyMultiple(unit) if body < missing && !body.is_multiple_of(*unit) => {
                    return Err(bad(format!("the body must be a multiple of {unit} bytes")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn appended(&self, offset: u64) -> Response<Bytes> {
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

    fn creates_at(&self, target: &str) -> bool {
        let elsewhere = self.quirk(|quirk| match quirk {
            Quirk::RedirectsCreation(_, path) => Some(path),
            _ => None,
        });
        elsewhere.is_some_and(|path| location::key(path) == location::key(target))
    }

    fn figure(&self, n: u64) -> HeaderValue {
        if self.has(&Quirk::RepeatedValues) {
            text(&format!("{n}, {n}"))
        } else {
            n.into()
        }
    }

    fn list(&self, items: &str) -> String {
        if self.has(&Quirk::SpacedLists) {
            items.replace(',', ", ")
        } else {
            items.to_owned()
        }
    }
}

fn answer(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
