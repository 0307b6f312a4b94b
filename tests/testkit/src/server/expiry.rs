//! Uploads that go away (extension "Expiration").

use bytes::Bytes;
use http::{HeaderValue, Response};

use super::fields::text;
use super::{Extension, Server};
use crate::date::{self, Form};
use crate::names::UPLOAD_EXPIRES;
use crate::{Quirk, Upload};

impl Server {
    /// Sets the clock, to seconds after the beginning of 1970. From then on answers carry a `Date`,
    /// and [`Options::expires_after`](crate::Options::expires_after) counts. What was made while there
    /// was no clock expires only after its next PATCH; a final upload, and a complete one, never does.
    pub fn set_now(&mut self, unix_seconds: u64) {
        self.now = Some(unix_seconds);
    }

    /// Has an upload's time begin anew.
    pub(super) fn renew(&mut self, id: u64) {
        let expires = self
            .now
            .zip(self.options.expires_after)
            .filter(|_| self.offers(Extension::Expiration))
            .map(|(now, after)| now.saturating_add(after.as_secs()));
        if let Some(upload) = self.uploads.get_mut(&id)
            && !upload.is_final()
        {
            upload.expires = expires.or(upload.expires);
        }
    }

    pub(super) fn is_expired(&self, upload: &Upload) -> bool {
        self.now
            .zip(upload.expires())
            .is_some_and(|(now, expires)| now >= expires)
    }

    /// Puts on an answer when the upload goes away.
    pub(super) fn announce_expiry(&self, id: u64, response: &mut Response<Bytes>) {
        if let Some(expires) = self.uploads.get(&id).and_then(Upload::expires) {
            response
                .headers_mut()
                .insert(UPLOAD_EXPIRES, self.date(expires));
        }
    }

    pub(super) fn date(&self, unix_seconds: u64) -> HeaderValue {
        let form = self.quirk(|quirk| match quirk {
            Quirk::Rfc850Dates => Some(Form::Rfc850),
            Quirk::AsctimeDates => Some(Form::Asctime),
            _ => None,
        });
        text(&date::write(unix_seconds, form.unwrap_or(Form::ImfFixdate)))
    }
}
