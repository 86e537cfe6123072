//! What an invite's link shows: whole pages without a script, and nothing that another server sends.

use super::{Accepted, Shown};

/// Written into each page, and allowed there by its hash in [`POLICY`].
const STYLE: &str = "body{max-width:34rem;margin:12vh auto;padding:0 1.25rem;font:1.05rem/1.6 system-ui,sans-serif;\
    color-scheme:light dark}label{display:block;margin:1.5rem 0 .25rem}input,button{font:inherit;padding:.5rem .75rem}\
    button{margin-left:.5rem;cursor:pointer}code{display:block;padding:1rem;border:1px solid;overflow-wrap:anywhere;\
    user-select:all}";

/// What the pages may load, which is nothing, and where their form may go. A test checks the hash.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'sha256-rk11VRBZ0qDtqcXr61gGHdS6wkivey3W/0sr9iV9ziI='; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The question.
pub(super) fn asked(Shown { workspace, inviter, email }: &Shown) -> String {
    let (workspace, inviter, email) = (text(workspace), text(inviter), text(email));
    page(
        &format!("Join {workspace}"),
        &format!(
            "<p><strong>{inviter}</strong> invites <strong>{email}</strong> to join the workspace <strong>{workspace}</strong>.</p>\
             <form method=\"post\"><label for=\"name\">What others call you (you may leave it empty)</label>\
             <input id=\"name\" name=\"first_name\" maxlength=\"128\" autocomplete=\"given-name\"><button>Join</button></form>"
        ),
    )
}

/// The answer, with the first key if there is one.
pub(super) fn joined(accepted: &Accepted, secret: Option<&str>) -> String {
    let workspace = text(&accepted.workspace);
    let key = secret.map_or_else(
        || "<p>Your seat is a basic one, which has no API keys of its own.</p>".to_owned(),
        |secret| {
            format!(
                "<p>This is your API key. It is shown this once: keep it where you keep passwords.</p><code>{}</code>",
                text(secret)
            )
        },
    );
    page(&format!("Welcome to {workspace}"), &format!("<p>You have joined as {}.</p>{key}", text(&accepted.email)))
}

/// Why nothing was done.
pub(super) fn refused(message: &str) -> String {
    page("Nothing was done", &format!("<p>{}</p><p>Ask whoever invited you for a new link.</p>", text(message)))
}

fn page(title: &str, main: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
         <style>{STYLE}</style></head><body><main><h1>{title}</h1>{main}</main></body></html>"
    )
}

/// Text that is read as text, in an element and in an attribute.
fn text(raw: &str) -> String {
    let mut escaped = String::with_capacity(raw.len());
    for letter in raw.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn base64(bytes: &[u8]) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            let letters = (0..4).map(|place| char::from(LETTERS[(bits >> (18 - 6 * place) & 63) as usize]));
            text.extend(letters.take(three.len() + 1));
        }
        text + &"===="[..(3 - bytes.len() % 3) % 3]
    }

    #[test]
    fn the_policy_allows_the_style_and_no_other() {
        assert_eq!(base64(b"any carnal pleas"), "YW55IGNhcm5hbCBwbGVhcw==");
        let hash = base64(&Sha256::digest(STYLE));
        assert!(POLICY.contains(&format!("style-src 'sha256-{hash}';")), "the hash is {hash}");
    }

    #[test]
    fn names_are_text_whatever_they_hold() {
        let hostile = "<script>alert(1)</script>\"'&";
        let shown = Shown { workspace: hostile.into(), inviter: hostile.into(), email: hostile.into() };
        for page in [asked(&shown), refused(hostile)] {
            assert!(
                !page.contains("<script") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;")
            );
        }
    }
}
