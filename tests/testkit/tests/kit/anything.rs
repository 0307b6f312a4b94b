//! Requests made of whatever comes: nothing panics, a refusal changes nothing, and what is kept stays.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, Method};
use tus_testkit::{Extension, Options, Quirk, Server, SplitMix64, Trailers};

use crate::{OCTETS, checksum, head, post, request};

/// Of each upload: its length, its bytes, and what is said of its parts.
type Uploads = BTreeMap<String, (Option<u64>, Vec<u8>, Option<String>)>;

fn uploads(server: &Server) -> Uploads {
    let upload = |upload: &tus_testkit::Upload| {
        let concat = upload.concat().map(str::to_owned);
        let rest = (upload.length(), upload.content().to_owned(), concat);
        (upload.target().to_owned(), rest)
    };
    server.uploads().map(upload).collect()
}

/// How many final uploads have become complete; each must be what its parts are.
fn joined(before: &Uploads, after: &Uploads) -> usize {
    let mut count = 0;
    for (target, (length, bytes, concat)) in after {
        let parts = concat
            .as_deref()
            .and_then(|concat| concat.strip_prefix("final;"));
        let known = before
            .get(target)
            .is_some_and(|(length, ..)| length.is_some());
        if let Some(parts) = parts.filter(|_| length.is_some() && !known) {
            let whole: Vec<u8> = parts
                .split(' ')
                .flat_map(|part| after[part].1.clone())
                .collect();
            assert_eq!(*bytes, whole);
            assert_eq!(*length, Some(whole.len() as u64));
            count += 1;
        }
    }
    count
}

struct Chance(SplitMix64);

impl Chance {
    fn one_in(&mut self, n: u64) -> bool {
        self.0.below(n) == 0
    }

    fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[usize::try_from(self.0.below(items.len() as u64)).unwrap()]
    }

    /// A request that is mostly right, to one of these uploads or to none.
    fn request(&mut self, uploads: &Uploads) -> http::Request<bytes::Bytes> {
        let mut targets: Vec<&str> = uploads.keys().map(String::as_str).collect();
        targets.push("/files/none");
        let target = self.of(&targets);
        let is_partial = |target: &&&str| {
            let concat = uploads
                .get(**target)
                .and_then(|(_, _, concat)| concat.as_deref());
            concat == Some("partial")
        };
        let partial: Vec<&str> = targets.iter().filter(is_partial).copied().collect();
        if !partial.is_empty() && self.one_in(8) {
            let parts = format!("final;{} {}", self.of(&partial), self.of(&partial));
            return post(&[("upload-concat", &parts)], b"");
        }
        let body = self.of(&[&b""[..], b"hello", b"he", b"hellO!"]);
        let method = self
            .of(&[&Method::POST, &Method::POST, &Method::PATCH, &Method::PATCH])
            .clone();
        let at = if method == Method::POST {
            "/files/"
        } else {
            target
        };
        let offset = uploads.get(target).map_or(0, |(_, bytes, _)| bytes.len());
        let parts = format!("final;{} {}", self.of(&targets), self.of(&targets));
        let offset = (offset + usize::from(self.one_in(8))).to_string();
        let lengths = ["0", "2", "5", "5", "7", "9", "12", "x"];
        let mut headers = vec![("upload-offset", &*offset)];
        for (name, chance, values) in [
            ("content-type", 9, &[OCTETS, "text/plain"][..1]),
            ("upload-length", 5, &lengths[..]),
            ("upload-defer-length", 2, &["1", "1", "1", "0"][..]),
            ("upload-concat", 2, &["partial", "partial", &parts, "x"][..]),
            (
                "upload-checksum",
                1,
                &[checksum::SHA1, "crc32 AAAAAA==", "x"][..],
            ),
            ("upload-metadata", 1, &["a YQ==", "a"][..]),
            ("trailer", 1, &["Upload-Checksum"][..]),
        ] {
            if self.0.below(10) < chance {
                headers.push((name, self.of(values)));
            }
        }
        let mut request = request(method, at, &headers, body);
        if self.one_in(2) {
            let mut fields = HeaderMap::new();
            fields.insert("upload-checksum", checksum::SHA1.parse().unwrap());
            request.extensions_mut().insert(Trailers(fields));
        }
        if self.one_in(6) {
            let headers = request.headers_mut();
            headers.remove("content-length");
            headers.insert("transfer-encoding", "chunked".parse().unwrap());
        }
        if self.one_in(12) {
            *request.method_mut() = Method::DELETE;
        }
        request
    }
}

#[test]
fn a_refusal_changes_nothing_and_what_is_kept_stays() {
    let mut answers = BTreeMap::new();
    let mut finals = 0;
    for seed in 0..60 {
        let mut chance = Chance(SplitMix64::new(seed));
        let mut server = Server::new(Options {
            max_size: Some(10),
            ..Options::default()
        });
        for _ in 0..100 {
            let before = uploads(&server);
            let request = chance.request(&before);
            let what = format!("{seed}: {request:?}");
            let deleted = (request.method() == Method::DELETE).then(|| request.uri().to_string());
            let method = request.method().clone();
            let status = server.handle(request).status();
            *answers
                .entry((method.to_string(), status.as_u16()))
                .or_insert(0) += 1;
            let after = uploads(&server);
            if !status.is_success() {
                assert_eq!(after, before, "{what}");
            }
            for (target, (length, bytes, concat)) in &before {
                let Some((new_length, new_bytes, new_concat)) = after.get(target) else {
                    assert_eq!(deleted.as_ref(), Some(target), "{what}");
                    continue;
                };
                assert!(new_bytes.starts_with(bytes), "{what}");
                assert!(length.is_none() || new_length == length, "{what}");
                assert_eq!(new_concat, concat, "{what}");
            }
            finals += joined(&before, &after);
            for upload in server.uploads() {
                let limit = upload.length().unwrap_or(10);
                let fits = upload.offset() <= limit || upload.is_final();
                assert!(fits, "{what}");
            }
        }
    }
    // It did come to all of it.
    assert!(finals > 20, "only {finals} of them were joined");
    for (method, statuses) in [
        ("POST", &[201, 400, 411, 413, 415, 460][..]),
        ("PATCH", &[204, 400, 403, 404, 409, 411, 413, 415, 460]),
        ("DELETE", &[204, 404]),
    ] {
        for status in statuses {
            let times = answers.get(&(method.to_owned(), *status));
            assert!(times.is_some(), "{method} {status} in {answers:?}");
        }
    }
}

#[test]
fn no_quirk_makes_the_server_panic_or_forget() {
    let quirks = [
        Quirk::TakesOnly(1),
        Quirk::MaxBody(4),
        Quirk::MinBody(3),
        Quirk::BodyMultiple(2),
        Quirk::IgnoresCreationBody,
        Quirk::CreateWithoutOffset,
        Quirk::RefusesCreationBody(999),
        Quirk::HeadWithoutDeferLength,
        Quirk::LengthOnce,
        Quirk::DeferredNeedsLength,
        Quirk::IgnoresChecksum,
        Quirk::MismatchIs(0),
        Quirk::ExpiredIs404,
        Quirk::AsctimeDates,
        Quirk::RefusesConcatenation(501),
        Quirk::RefusesFinal(501),
        Quirk::AbsoluteParts,
        Quirk::RelativeParts,
        Quirk::LosesPart(404),
        Quirk::FinalAtPart,
        Quirk::StaleFinal(1),
        Quirk::RefusesCompletion(422),
        Quirk::MovesCompleted,
        Quirk::LockedIs(423),
        Quirk::CompleteIs403,
    ];
    for seed in 0..100 {
        let mut chance = Chance(SplitMix64::new(seed));
        let some = quirks.iter().filter(|_| chance.one_in(6)).cloned();
        let quirks: Vec<_> = some.collect();
        let extensions = Extension::ALL
            .into_iter()
            .filter(|extension| *extension == Extension::Creation || !chance.one_in(8));
        let mut server = Server::new(Options {
            extensions: extensions.collect(),
            expires_after: Some(Duration::from_secs(50)),
            quirks,
            ..Options::default()
        });
        let mut open = Vec::new();
        for second in 0..100 {
            server.set_now(second);
            let request = chance.request(&uploads(&server));
            if chance.one_in(3) {
                let (head, body) = request.into_parts();
                if let tus_testkit::Begun::Reading(reading) = server.begin(&head) {
                    server.body(&reading, &body[..body.len() / 2]);
                    open.push(reading);
                }
            } else {
                server.handle(request);
            }
            if chance.one_in(4)
                && let Some(reading) = open.pop()
            {
                if chance.one_in(2) {
                    server.abort(reading);
                } else {
                    let _ = server.finish(reading);
                }
            }
            let targets: Vec<_> = uploads(&server).into_keys().collect();
            for target in targets {
                let status = server.handle(head(&target)).status().as_u16();
                assert!(
                    matches!(status, 200 | 404 | 410),
                    "{seed}: {target} is {status}"
                );
            }
        }
        for reading in open {
            server.abort(reading);
        }
        assert_eq!(server.locks(), 0);
    }
}
