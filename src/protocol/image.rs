//! Images: a data URL, base64 with a label, or an address on the web. And what else comes as a data URL.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use std::borrow::Cow;

use crate::protocol::canonical::Image;

/// The kinds of image that both vendors take.
const MEDIA_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// How much base64 is decoded to see what an image is: 12 bytes, a multiple of both 3 and 4 in their units.
const SIGNATURE_CHARS: usize = 16;

/// Reads the URL of an image; the error says what is wrong with it.
pub(super) fn of_url(url: Cow<'_, str>) -> Result<Image<'_>, &'static str> {
    if is_on_the_web(&url) {
        return Ok(Image::Url(url));
    }
    let (label, base64) = data_url(url)?;
    inline(&label, base64)
}

/// Returns whether a URL is an address that the provider can fetch from.
pub(super) fn is_on_the_web(url: &str) -> bool {
    starts_with_ignoring_case(url, "https://") || starts_with_ignoring_case(url, "http://")
}

/// Reads an image of base64 with a label; the error says what is wrong with it.
pub(super) fn inline<'a>(label: &str, base64: Cow<'a, str>) -> Result<Image<'a>, &'static str> {
    let known = |label: &str| MEDIA_TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(label));
    match sniffed(&base64).or_else(|| known(label)) {
        Some(media_type) => Ok(Image::Inline { media_type, base64 }),
        None => Err("must be a PNG, JPEG, GIF or WebP image"),
    }
}

/// Splits a data URL into its media type, in lower case, and its base64; the error says what is wrong with it.
pub(super) fn data_url(url: Cow<'_, str>) -> Result<(String, Cow<'_, str>), &'static str> {
    if !starts_with_ignoring_case(&url, "data:") {
        return Err("must be a data: URL or an http(s) URL");
    }
    let Some(comma) = memchr::memchr(b',', url.as_bytes()) else { return Err("is a data: URL without data") };
    let label = url["data:".len()..comma].to_ascii_lowercase();
    let Some(label) = label.strip_suffix(";base64") else { return Err("must be a base64 data: URL") };
    let label = label.split(';').next().unwrap_or_default().to_owned();
    let base64 = match url {
        Cow::Borrowed(url) => Cow::Borrowed(&url[comma + 1..]),
        Cow::Owned(mut url) => Cow::Owned(url.split_off(comma + 1)),
    };
    Ok((label, base64))
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Returns what an image is by its first bytes. Clients label wrongly, and the upstream refuses a wrong label.
fn sniffed(base64: &str) -> Option<&'static str> {
    let start = base64.get(..SIGNATURE_CHARS)?;
    let bytes = STANDARD_NO_PAD.decode(start).ok()?;
    match &*bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";

    fn inline(url: &str) -> (&'static str, String) {
        match of_url(url.into()).unwrap() {
            Image::Inline { media_type, base64 } => (media_type, base64.into_owned()),
            Image::Url(url) => panic!("{url}"),
        }
    }

    #[test]
    fn a_data_url_is_carried_with_its_type() {
        assert_eq!(inline(&format!("data:image/png;base64,{PNG}")), ("image/png", PNG.into()));
        assert_eq!(inline(&format!("DATA:Image/PNG;charset=x;BASE64,{PNG}")), ("image/png", PNG.into()));
    }

    #[test]
    fn a_wrong_label_is_corrected_by_the_first_bytes() {
        for (data, media_type) in [
            (PNG, "image/png"),
            ("/9j/4AAQSkZJRgABAQAAAQ", "image/jpeg"),
            ("R0lGODlhAQABAIAAAAAAAP", "image/gif"),
            ("UklGRiQAAABXRUJQVlA4IBgA", "image/webp"),
        ] {
            assert_eq!(inline(&format!("data:image/bmp;base64,{data}")).0, media_type);
        }
        assert_eq!(inline("data:image/gif;base64,AAAAAAAAAAAAAAAA").0, "image/gif");
        assert_eq!(inline("data:image/webp;base64,AAAA").0, "image/webp");
    }

    #[test]
    fn an_address_on_the_web_is_carried_as_it_is() {
        let url = "HTTPS://example.com/a.png?x=1";
        assert_eq!(of_url(url.into()), Ok(Image::Url(url.into())));
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "",
            "file:///etc/passwd",
            "data:image/png;base64",
            "data:image/png,rawbytes",
            "data:text/plain;base64,AAAA",
            "data:,",
            "\u{20ac}\u{20ac}\u{20ac}",
        ] {
            assert!(of_url(url.into()).is_err(), "{url}");
        }
    }
}
