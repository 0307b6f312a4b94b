//! Parts and what is made of them (extension "Concatenation").

use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};

use super::fields::text;
use super::refusal::{Refusal, bad, refuse, refuse_as};
use super::{Extension, Server};
use crate::names::{UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH};
use crate::upload::New;
use crate::{Quirk, Upload, location};

/// What `Upload-Concat` says.
pub(super) enum Concat<'a> {
    Partial,
    /// The references of its parts.
    Final(Vec<&'a str>),
}

impl Server {
    pub(super) fn concat<'a>(&self, headers: &'a HeaderMap) -> Result<Option<Concat<'a>>, Refusal> {
        let Some(value) = self.offered(headers, UPLOAD_CONCAT, Extension::Concatenation)? else {
            return Ok(None);
        };
        let concat = match value.strip_prefix("final;") {
            _ if value == "partial" => Concat::Partial,
            Some(parts) => Concat::Final(parts.split(' ').collect()),
            None => return Err(bad("Upload-Concat is neither partial nor final")),
        };
        let status = self.quirk(|quirk| match (quirk, &concat) {
            (Quirk::RefusesConcatenation(status), _)
            | (Quirk::RefusesFinal(status), Concat::Final(_)) => Some(*status),
            _ => None,
        });
        match status {
            Some(status) => Err(refuse_as(status, "uploads are not joined here")),
            None => Ok(Some(concat)),
        }
    }

    /// Makes a final upload of its parts.
    pub(super) fn concatenate(
        &mut self,
        head: &Parts,
        references: &[&str],
        body: Option<u64>,
        new: New,
    ) -> Result<Response<Bytes>, Refusal> {
        if body != Some(0) || head.headers.contains_key(CONTENT_TYPE) {
            return Err(bad("a final upload has no body, and no type of one"));
        }
        for name in [UPLOAD_LENGTH, UPLOAD_DEFER_LENGTH] {
            if head.headers.contains_key(name) {
                return Err(bad(format!("a final upload has no {name}")));
            }
        }
        let path = location::target(&head.uri);
        let loses = self.quirk(|quirk| match quirk {
            Quirk::LosesPart(status) => Some(*status),
            _ => None,
        });
        if let Some(status) = loses {
            self.remove(&location::resolve(path, references[0]));
            return Err(refuse_as(status, "a part is not there any more"));
        }
        let parts = references
            .iter()
            .map(|reference| self.part(path, reference))
            .collect::<Result<Vec<_>, _>>()?;
        let lengths = parts.iter().map(|part| self.uploads[part].length());
        let total = lengths
            .flatten()
            .try_fold(0, u64::checked_add)
            .ok_or_else(|| bad("the final upload is longer than 64 bits can say"))?;
        self.check_max_size(total)?;
        let finished = parts.iter().all(|part| self.uploads[part].is_complete());
        if !finished && !self.offers(Extension::ConcatenationUnfinished) {
            return Err(bad("a part is not finished"));
        }
        let (id, mut response) = self.establish(head, New { parts, ..new });
        if self.has(&Quirk::FinalAtPart) {
            response.headers_mut().insert(LOCATION, text(references[0]));
        }
        self.join();
        self.completed(id, response)
    }

    fn part(&self, path: &str, reference: &str) -> Result<u64, Refusal> {
        let absolute = reference.contains("://");
        if absolute && self.has(&Quirk::RelativeParts) {
            return Err(bad("the URL of a part is absolute"));
        }
        if !absolute && self.has(&Quirk::AbsoluteParts) {
            return Err(bad("the URL of a part is not absolute"));
        }
        let id = self.find(&location::resolve(path, reference));
        id.filter(|id| {
            let upload = &self.uploads[id];
            upload.is_partial() && !self.is_expired(upload)
        })
        .ok_or_else(|| bad(format!("{reference:?} is not a partial upload")))
    }

    /// Gives its bytes to each final upload whose parts have all become complete.
    pub(super) fn join(&mut self) {
        let ready = |upload: &Upload| {
            let mut parts = upload.parts.iter();
            let complete = |id| self.uploads.get(id).is_some_and(Upload::is_complete);
            !upload.parts.is_empty() && parts.all(complete)
        };
        let ready: Vec<_> = self
            .uploads
            .iter()
            .filter(|(_, upload)| ready(upload))
            .map(|(&id, upload)| (id, upload.parts.clone()))
            .collect();
        for (id, parts) in ready {
            let content: Vec<u8> = parts
                .iter()
                .flat_map(|part| self.uploads[part].content())
                .copied()
                .collect();
            if let Some(upload) = self.uploads.get_mut(&id) {
                upload.finish(content);
            }
        }
    }

    pub(super) fn refuse_final(upload: &Upload) -> Result<(), Refusal> {
        if upload.is_final() {
            return Err(refuse(
                StatusCode::FORBIDDEN,
                "a final upload is made of its parts",
            ));
        }
        Ok(())
    }
}
