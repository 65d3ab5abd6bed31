//! The pages that a browser is shown after a login: plain text in HTML, without scripts, images or links.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};

/// Nothing is loaded, sent or framed. The style is none of a stranger's.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; sandbox";

/// Returns a page with a title and paragraphs; whatever is in them is shown as text.
///
/// The address of the page has a code in it: it is not kept, and not told to anybody as a referrer.
pub(crate) fn reply(status: StatusCode, title: &str, paragraphs: &[&str]) -> HttpResponse {
    let title = escaped(title);
    let paragraphs = paragraphs.iter().filter(|text| !text.is_empty());
    let text = paragraphs.fold(String::new(), |text, paragraph| text + "<p>" + &escaped(paragraph) + "</p>\n");
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{title} - duopool</title>\n\
         <body style=\"font-family: sans-serif; max-width: 40em; margin: 4em auto\">\n<h1>{title}</h1>\n{text}</body>\n</html>\n"
    );
    HttpResponse::build(status)
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(body)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    #[actix::test]
    async fn what_a_stranger_wrote_is_shown_as_text() {
        let page = reply(StatusCode::BAD_REQUEST, "No", &["<script>alert('x')</script> & \"more\"", ""]);
        assert_eq!(page.headers().get(REFERRER_POLICY).unwrap(), "no-referrer");
        let body = to_bytes(page.into_body()).await.unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(
            text.contains("<p>&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more&quot;</p>"),
            "{text}"
        );
        assert_eq!(text.matches("<p>").count(), 1);
    }
}
