//! The pages that a browser sees.

use std::fmt::Write as _;

use crate::simulator::answer::Answer;
use crate::simulator::oauth::form::Params;
use crate::simulator::state::State;

/// What the person chooses on a page; not passed on from the query.
const CHOICES: [&str; 2] = ["account", "decision"];

/// Returns a page with a title and HTML below it.
pub(super) fn page(title: &str, html: &str) -> Answer {
    let title = escaped(title);
    let body = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>body{{font:16px sans-serif;max-width:32em;margin:4em auto;line-height:1.5}}button{{font:inherit;\
         padding:.3em 1em}}</style></head>\n<body><h1>{title}</h1>\n{html}\n<p><small>This is a simulated \
         GitLab.</small></p></body></html>\n"
    );
    Answer::whole(200, "text/html; charset=utf-8", body)
}

/// Returns the page that GitLab shows in place of a redirect; its status is 200, as GitLab's is.
pub(super) fn error(told: &str) -> Answer {
    page("An error has occurred", &format!("<p id=\"error\">{}</p>", escaped(told)))
}

/// Returns a form that sends `params` back to where it came from, with the user's choice.
pub(super) fn form(state: &State, params: &Params, fields: &str) -> String {
    let mut html = "<form method=\"post\">\n".to_owned();
    for (name, value) in params.iter().filter(|(name, _)| !CHOICES.contains(name)) {
        let (name, value) = (escaped(name), escaped(value));
        let _ = writeln!(html, "<input type=\"hidden\" name=\"{name}\" value=\"{value}\">");
    }
    html.push_str(fields);
    html.push_str("<p>As <select name=\"account\">");
    for account in &state.accounts {
        let _ = write!(html, "<option>{}</option>", escaped(&account.username));
    }
    html.push_str(
        "</select></p>\n<button name=\"decision\" value=\"authorize\">Authorize</button>\n\
         <button name=\"decision\" value=\"deny\">Deny</button>\n</form>",
    );
    html
}

/// Returns text that is safe inside an element and inside a quoted attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}
