use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use tus_proto::Metadata;

/// Any header is metadata where somebody else reads it so, and survives a round, or is an error; and
/// whatever pairs are accepted make a header that reads back.
///
/// # Panics
///
/// Where that is not so.
pub fn metadata(data: &[u8]) {
    let ours = Metadata::decode(data);
    let pairs = ours.as_ref().ok().map(|read| {
        let owned = |(key, value): (&str, Option<&[u8]>)| {
            (key.to_owned(), value.unwrap_or_default().to_vec())
        };
        read.iter().map(owned).collect::<Vec<_>>()
    });
    assert_eq!(pairs, read(data), "{ours:?}");
    if let Ok(read) = ours {
        let pairs = read
            .iter()
            .map(|(key, value)| (key, value.unwrap_or_default()));
        // What a server says may be longer than what is sent to one.
        if let Some(built) = build(pairs) {
            assert_eq!(built.len(), read.len());
            for (key, value) in read.iter() {
                assert_eq!(built.get(key), Some(value.unwrap_or_default()), "{key}");
            }
        }
    }
    let lines = data.split(|byte| *byte == b'\n');
    let mut sent = Metadata::new();
    for line in lines {
        let mut halves = line.splitn(2, |byte| *byte == b' ');
        let key = halves.next().unwrap_or_default();
        let value = halves.next().unwrap_or_default();
        let Ok(key) = std::str::from_utf8(key) else {
            continue;
        };
        let legal = is_key(key);
        let known = sent.get(key).is_some();
        let room = Metadata::MAX_ENCODED_LEN;
        let small = key.len() + 2 * value.len() + 16 < room - header(&sent).len().min(room);
        let inserted = sent.insert(key, value).is_ok();
        assert!(!inserted || legal && !known, "{key:?} is no key to send");
        assert!(inserted || !legal || known || !small, "{key:?} is refused");
    }
    let pairs: Vec<_> = sent
        .iter()
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect();
    assert_eq!(build(pairs.iter().copied()).as_ref(), Some(&sent));
}

fn is_key(key: &str) -> bool {
    let legal = |byte| matches!(byte, 0x21..=0x7E) && byte != b',';
    !key.is_empty() && key.bytes().all(legal)
}

/// The pairs of a header, as the crate says that it reads them; `None` where one of them is none.
fn read(header: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut pairs: Vec<(String, Vec<u8>)> = Vec::new();
    for member in header.split(|byte| *byte == b',') {
        let member = member.trim_ascii_start();
        if member.is_empty() {
            continue;
        }
        let mut halves = member.splitn(2, |byte| *byte == b' ');
        let key = String::from_utf8(halves.next()?.to_vec()).ok()?;
        let value = halves.next().unwrap_or_default().trim_ascii();
        let padded = STANDARD.decode(value);
        // Of the padding some may be missing.
        let value = if value.len() % 4 == 3 {
            value.strip_suffix(b"=").unwrap_or(value)
        } else {
            value
        };
        let value = padded.or_else(|_| STANDARD_NO_PAD.decode(value)).ok()?;
        if !is_key(&key) || pairs.iter().any(|(other, _)| *other == key) {
            return None;
        }
        pairs.push((key, value));
    }
    Some(pairs)
}

fn header(metadata: &Metadata) -> Vec<u8> {
    let value = metadata.encode();
    value.map_or(Vec::new(), |value| value.as_bytes().to_vec())
}

/// Metadata of these pairs, whose header was read by somebody else; `None` where it is too long.
fn build<'a>(pairs: impl Iterator<Item = (&'a str, &'a [u8])>) -> Option<Metadata> {
    let mut built = Metadata::new();
    let mut expected = Vec::new();
    for (key, value) in pairs {
        built.insert(key, value).ok()?;
        expected.push((key.to_owned(), value.to_vec()));
    }
    let header = header(&built);
    assert!(header.len() <= Metadata::MAX_ENCODED_LEN);
    assert!(header.iter().all(|byte| matches!(byte, 0x20..=0x7E)));
    let text = String::from_utf8(header.clone()).expect("ASCII");
    let members = text.split(',').filter(|member| !member.is_empty());
    let seen: Vec<_> = members
        .map(|member| {
            let (key, value) = member.split_once(' ').unwrap_or((member, ""));
            let value = STANDARD.decode(value).expect("base64");
            (key.to_owned(), value)
        })
        .collect();
    assert_eq!(seen, expected, "{text}");
    assert_eq!(Metadata::decode(&header).as_ref(), Ok(&built));
    let shown = format!("{built:?}");
    for (_, value) in expected.iter().filter(|(_, value)| value.len() > 8) {
        let encoded = STANDARD.encode(value);
        let chosen = seen.iter().any(|(key, _)| key.contains(&encoded));
        assert!(chosen || !shown.contains(&encoded), "a value is shown");
    }
    Some(built)
}
