//! What the server makes of each kind of request.

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use super::fields::{one, text};
use super::refusal::{Refusal, bad, not_allowed, page, refuse, refuse_as};
use super::{Begun, Extension, Server};
use crate::names::{
    CACHE_CONTROL, METHOD_OVERRIDE, TUS_CHECKSUM_ALGORITHM, TUS_EXTENSION, TUS_MAX_SIZE,
    TUS_RESUMABLE, TUS_VERSION, UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH, UPLOAD_METADATA,
    UPLOAD_OFFSET, VERSION,
};
use crate::{Quirk, Upload, location};

impl Server {
    pub(super) fn dispatch(&mut self, head: &Parts, record: usize) -> Result<Begun, Refusal> {
        let method = self.method(head)?;
        self.log[record].method = method.clone();
        self.check_most(&head.headers)?;
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
            Method::OPTIONS => self.options().map(Begun::Answered),
            Method::POST if at_endpoint || self.creates_at(target) => {
                self.create(head, record, at_endpoint)
            }
            Method::HEAD => {
                let id = self.found(target)?;
                if self.locked_status().is_none() {
                    self.displace(id);
                }
                Ok(Begun::Answered(self.inspect(id)))
            }
            Method::PATCH => self.append(head, record),
            Method::DELETE if self.offers(Extension::Termination) => {
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

    fn options(&self) -> Result<Response<Bytes>, Refusal> {
        let refused = self.quirk(|quirk| match quirk {
            Quirk::NoOptions(status) => Some(*status),
            _ => None,
        });
        if let Some(status) = refused {
            return Err(refuse_as(status, "there are no options"));
        }
        let status = if self.has(&Quirk::OptionsAnswers200) {
            StatusCode::OK
        } else {
            StatusCode::NO_CONTENT
        };
        let mut response = answer(status);
        let headers = response.headers_mut();
        headers.insert(TUS_VERSION, HeaderValue::from_static(VERSION));
        if let Some(max) = self.options.max_size {
            headers.insert(TUS_MAX_SIZE, self.figure(max));
        }
        let names = |extension: &Extension| extension.name();
        let extensions: Vec<_> = self.options.extensions.iter().map(names).collect();
        let checks = [Extension::Checksum, Extension::ChecksumTrailer]
            .iter()
            .any(|extension| self.offers(*extension));
        let lists = [
            (TUS_EXTENSION, extensions.join(","), true),
            (
                TUS_CHECKSUM_ALGORITHM,
                self.options.checksum_algorithms.join(","),
                checks,
            ),
        ];
        for (name, items, wanted) in lists {
            if wanted && !items.is_empty() && !self.has(&Quirk::SilentOptions) {
                headers.insert(name, text(&self.list(&items)));
            }
        }
        Ok(response)
    }

    fn inspect(&mut self, id: u64) -> Response<Bytes> {
        let status = if self.has(&Quirk::HeadAnswers204) {
            StatusCode::NO_CONTENT
        } else {
            StatusCode::OK
        };
        let mut response = answer(status);
        self.announce_expiry(id, &mut response);
        let says_offset = self.says_offset(id);
        let upload = &self.uploads[&id];
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if says_offset {
            let offset = self.quirk(|quirk| match quirk {
                Quirk::HeadOffset(offset) => Some(text(offset)),
                _ => None,
            });
            headers.insert(
                UPLOAD_OFFSET,
                offset.unwrap_or_else(|| self.figure(upload.offset())),
            );
        }
        match self.announced(upload) {
            Some(_) if self.has(&Quirk::HeadWithoutLength) => {}
            Some(known) => {
                let length = self.quirk(|quirk| match quirk {
                    Quirk::HeadLength(length) => Some(text(length)),
                    _ => None,
                });
                headers.insert(UPLOAD_LENGTH, length.unwrap_or_else(|| self.figure(known)));
            }
            None if upload.is_final() || self.has(&Quirk::HeadWithoutDeferLength) => {}
            None => {
                headers.insert(UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1"));
            }
        }
        if let Some(metadata) = upload.metadata() {
            headers.insert(UPLOAD_METADATA, text(&self.list(metadata)));
        }
        if let Some(concat) = upload.concat() {
            headers.insert(UPLOAD_CONCAT, text(concat));
        }
        response
    }

    /// The length that HEAD says: that of a final upload is known with those of all its parts.
    fn announced(&self, upload: &Upload) -> Option<u64> {
        if upload.length.is_some() || !upload.is_final() {
            return upload.length;
        }
        let mut lengths = upload.parts.iter().map(|id| self.uploads.get(id)?.length);
        lengths.try_fold(0_u64, |sum, length| sum.checked_add(length?))
    }

    /// Whether HEAD is to say the offset: that of a final upload may be unknown.
    fn says_offset(&mut self, id: u64) -> bool {
        let stale = self.quirk(|quirk| match quirk {
            Quirk::StaleFinal(times) => Some(*times),
            _ => None,
        });
        match self.uploads.get_mut(&id) {
            Some(upload) if upload.is_final() => {
                let withheld = upload.withheld < stale.unwrap_or(0);
                upload.withheld += u32::from(upload.is_complete() && withheld);
                upload.is_complete() && !withheld
            }
            _ => true,
        }
    }

    pub(super) fn figure(&self, n: u64) -> HeaderValue {
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

pub(super) fn answer(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}
