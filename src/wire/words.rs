//! A server's own words, made fit for an error message.

use std::borrow::Cow;

use http::HeaderValue;

/// Enough for the sentence that matters; a message is not a page.
const MAX_CHARS: usize = 300;

/// What is looked at of a body. A page may have much script before its text.
const MAX_BYTES: usize = 64 * 1024;

/// What of a page nobody reads, by how it begins and ends; the first row that fits counts.
const UNSEEN: [(&str, &str); 5] = [
    ("<!--", "-->"),
    ("<script", "</script>"),
    ("<style", "</style>"),
    ("<svg", "</svg>"),
    ("<", ">"),
];

/// `&` comes last, so that nothing is unescaped twice.
const ENTITIES: [(&str, &str); 6] = [
    ("&nbsp;", " "),
    ("&lt;", "<"),
    ("&gt;", ">"),
    ("&quot;", "\""),
    ("&#39;", "'"),
    ("&amp;", "&"),
];

/// Characters that show nothing, or change the order in which a terminal shows others: Unicode's
/// `Default_Ignorable_Code_Point`, which the bidirectional controls belong to, and the separators and
/// annotation marks that are not in it.
const HIDDEN: [(char, char); 17] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// What `body` says, on one line of at most some 300 harmless characters; empty if it says nothing.
///
/// A page in HTML, which is a proxy's or a framework's rather than the tus server's, is named as such
/// and cut down to its title, or to its visible text where it has none.
pub(crate) fn words(content_type: Option<&HeaderValue>, body: &[u8]) -> String {
    let body = &body[..body.len().min(MAX_BYTES)];
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
    if !is_html(content_type, body) {
        return one_line(&String::from_utf8_lossy(body));
    }
    let text = title(body)
        .map(one_line_of_html)
        .filter(|title| !title.is_empty());
    match text.unwrap_or_else(|| one_line_of_html(&visible(body))) {
        text if text.is_empty() => "an HTML page".to_owned(),
        text => format!("an HTML page: {text}"),
    }
}

/// A few words of a field, as [`words`] has them of a body.
pub(crate) fn quote(field: &[u8]) -> String {
    one_line(&String::from_utf8_lossy(field))
}

/// The first characters of a name that others chose: enough to know it by.
pub(crate) fn cut(name: &str) -> String {
    name.chars().take(MAX_CHARS).collect()
}

/// `text` with each control, bidirectional or invisible character written as `\u{…}`. For display: a
/// backslash stays what it is.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut escaped, c));
    escaped
}

fn push_escaped(text: &mut String, c: char) {
    let hidden = || {
        HIDDEN
            .iter()
            .any(|&(first, last)| (first..=last).contains(&c))
    };
    if c.is_control() || hidden() {
        text.extend(c.escape_unicode());
    } else {
        text.push(c);
    }
}

/// White space collapsed, the rest escaped, and cut.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    let mut chars = 0;
    for word in text.split_whitespace() {
        let space = if line.is_empty() { "" } else { " " };
        for c in space.chars().chain(word.chars()) {
            let before = line.len();
            push_escaped(&mut line, c);
            chars += line[before..].chars().count();
            if chars > MAX_CHARS {
                line.truncate(before);
                line.push('…');
                return line;
            }
        }
    }
    line
}

fn one_line_of_html(html: &[u8]) -> String {
    let text = ENTITIES.iter().fold(
        String::from_utf8_lossy(html),
        |text, (entity, character)| {
            if text.contains(entity) {
                Cow::Owned(text.replace(entity, character))
            } else {
                text
            }
        },
    );
    one_line(&text)
}

fn is_html(content_type: Option<&HeaderValue>, body: &[u8]) -> bool {
    let labelled = content_type.is_some_and(|value| {
        ["text/html", "application/xhtml+xml"]
            .iter()
            .any(|kind| begins(value.as_bytes(), kind))
    });
    let start = body.trim_ascii_start();
    labelled
        || ["<!doctype html", "<html"]
            .iter()
            .any(|tag| begins(start, tag))
}

fn title(html: &[u8]) -> Option<&[u8]> {
    let (_, tag) = split_at(html, "<title")?;
    let (_, title) = split_at(tag, ">")?;
    let (title, _) = split_at(title, "</title")?;
    Some(title)
}

fn visible(html: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = html;
    while let Some(tag) = rest.iter().position(|&byte| byte == b'<') {
        text.extend_from_slice(&rest[..tag]);
        // Most tags stand between words: `<h1>Not found</h1><p>…`.
        text.push(b' ');
        rest = after_unseen(&rest[tag..]);
    }
    text.extend_from_slice(rest);
    text
}

/// What follows the tag, comment or script that `html` begins with; nothing, if it does not end.
fn after_unseen(html: &[u8]) -> &[u8] {
    let row = UNSEEN.iter().find(|(begin, _)| begins(html, begin));
    row.and_then(|(_, end)| split_at(html, end))
        .map_or(&[], |(_, rest)| rest)
}

/// What is before and after the first `mark`, in any case.
fn split_at<'a>(text: &'a [u8], mark: &str) -> Option<(&'a [u8], &'a [u8])> {
    let at = text
        .windows(mark.len())
        .position(|window| window.eq_ignore_ascii_case(mark.as_bytes()))?;
    Some((&text[..at], &text[at + mark.len()..]))
}

fn begins(text: &[u8], prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(body: &str) -> String {
        words(None, body.as_bytes())
    }

    fn html(body: &str) -> String {
        words(
            Some(&HeaderValue::from_static("Text/HTML; charset=utf-8")),
            body.as_bytes(),
        )
    }

    #[test]
    fn text_is_put_on_one_line() {
        for (body, expected) in [
            ("", ""),
            (" \r\n\t ", ""),
            (
                "ERR_UPLOAD_NOT_FOUND: upload not found\n",
                "ERR_UPLOAD_NOT_FOUND: upload not found",
            ),
            (
                "one\r\n\r\n  two\u{2028}three\u{a0}four",
                "one two three four",
            ),
            ("{\"error\": \"näh\"}", "{\"error\": \"näh\"}"),
            ("\u{feff}bom", "bom"),
            ("1 < 2 &amp; so", "1 < 2 &amp; so"),
        ] {
            assert_eq!(plain(body), expected, "{body:?}");
        }
        assert_eq!(words(None, b"a\xffb"), "a\u{fffd}b");
    }

    #[test]
    fn what_could_deceive_a_terminal_is_escaped() {
        assert_eq!(plain("\u{1b}[2Jx"), r"\u{1b}[2Jx");
        assert_eq!(
            plain("a\u{202e}b\u{2066}c\u{200f}d"),
            r"a\u{202e}b\u{2066}c\u{200f}d"
        );
        assert_eq!(
            html("<title>\u{9b}x&lt;\u{61c}</title>"),
            r"an HTML page: \u{9b}x<\u{61c}"
        );
        assert_eq!(
            escape("a\nb\0c\u{7f} \u{200b}\u{e0041}é"),
            r"a\u{a}b\u{0}c\u{7f} \u{200b}\u{e0041}é"
        );

        let bidi = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        for c in bidi
            .chain(['\u{200e}', '\u{200f}', '\u{61c}'])
            .chain('\0'..' ')
        {
            let expected = format!("\\u{{{:x}}}", u32::from(c));
            assert_eq!(escape(&c.to_string()), expected);
        }
    }

    #[test]
    fn the_rest_is_left_alone() {
        let text = "Größe überschritten: 大きすぎる, слишком, 😀 \\n";
        assert_eq!(escape(text), text);
        assert_eq!(plain(text), text);
    }

    #[test]
    fn a_message_is_bounded() {
        let exact = "ä".repeat(MAX_CHARS);
        assert_eq!(plain(&exact), exact);
        assert_eq!(plain(&format!("{exact} b")), format!("{exact}…"));
        // Escapes count as what they are printed as, and are never cut in two.
        let escaped = plain(&"\u{202e}".repeat(1000));
        assert!(escaped.chars().count() <= MAX_CHARS + 1);
        assert!(escaped.ends_with("}…"));
        assert!(html(&"<p>word ".repeat(100_000)).chars().count() < MAX_CHARS + 20);
        assert!(words(None, &vec![0xff; 1 << 20]).chars().count() <= MAX_CHARS + 1);
    }

    // PROTOCOL §4, 13.
    #[test]
    fn of_a_page_only_so_much_is_looked_at() {
        let after = |script: usize| html(&format!("<script>{}</script>sorry", "x".repeat(script)));
        let tags = "<script></script>sorry".len();
        assert_eq!(after(65_536 - tags), "an HTML page: sorry");
        assert_eq!(after(65_536 - tags + 5), "an HTML page");
    }

    #[test]
    fn a_page_is_named_and_cut_down() {
        for (page, expected) in [
            (
                "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>x",
                "an HTML page: 413 Request Entity Too Large",
            ),
            (
                "<HTML><TITLE lang=en>\n Log\n in </TITLE>",
                "an HTML page: Log in",
            ),
            ("<title></title><h1>No</h1><p>way", "an HTML page: No way"),
            (
                "<title>Q&amp;A &amp;lt; &#39;B&#39;</title>",
                "an HTML page: Q&A &lt; 'B'",
            ),
            (
                "<!-- a > b --><style>p{}</style><p>x<SCRIPT>if (a<b) {}</Script> y <br/>z",
                "an HTML page: x y z",
            ),
            ("Upload not found", "an HTML page: Upload not found"),
            ("<title>unclosed", "an HTML page: unclosed"),
            ("text <script>never ends", "an HTML page: text"),
            ("text <b", "an HTML page: text"),
            ("<p></p>", "an HTML page"),
            ("", "an HTML page"),
        ] {
            assert_eq!(html(page), expected, "{page:?}");
        }
    }

    #[test]
    fn a_page_is_known_without_its_label() {
        assert_eq!(
            plain("\n<!DOCTYPE html><title>Oops</title>"),
            "an HTML page: Oops"
        );
        assert_eq!(plain("<html><body>Oops"), "an HTML page: Oops");
        let json = HeaderValue::from_static("application/json");
        assert_eq!(
            words(Some(&json), b"{\"a\": \"<title>\"}"),
            "{\"a\": \"<title>\"}"
        );
    }

    #[test]
    fn the_table_of_hidden_characters_is_in_order_and_legible() {
        assert!(HIDDEN.iter().all(|(first, last)| first <= last));
        assert!(
            !HIDDEN
                .iter()
                .any(|&(first, last)| (first..=last).contains(&'\u{fffd}'))
        );
    }
}
