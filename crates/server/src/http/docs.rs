//! `GET /docs`: the reference as a page, made from the same table as `/openapi.json`. No script, and nothing is fetched
//! from anywhere else.

use super::openapi::describe;
use super::routes::{Route, routes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine};
use maud::{DOCTYPE, Markup, html};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// More than these are told in words.
const MOST_WORDS: usize = 8;

/// The page, made once: the table never changes.
static PAGE: LazyLock<(String, HeaderValue)> = LazyLock::new(|| {
    let page = page(&routes(), &describe()).into_string();
    // The one style is known by its hash, so no other can be put in.
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; frame-ancestors 'none'");
    (page, HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'")))
});

/// `GET /docs`.
pub async fn serve() -> Response {
    let (page, policy) = &*PAGE;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, policy.clone()),
    ];
    (headers, page.as_str()).into_response()
}

fn page(routes: &[Route], description: &Value) -> Markup {
    let mut tags: Vec<&str> = Vec::new();
    for route in routes {
        if !tags.contains(&route.tag) {
            tags.push(route.tag);
        }
    }
    let of = |tag: &'static str| routes.iter().filter(move |route| route.tag == tag);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Stead API reference" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#content" { "Skip to the reference" }
                nav aria-label="Endpoints" {
                    p.name { "Stead" span { "API reference" } }
                    @for tag in &tags {
                        h2 { a href={ "#" (anchor(tag)) } { (tag) } }
                        ul {
                            @for route in of(tag) {
                                li { a href={ "#" (route.id) } { (spoken(route.id)) } }
                            }
                        }
                    }
                    h2 { a href="#errors" { "Errors" } }
                }
                main id="content" {
                    h1 { "API reference" }
                    p {
                        "Send an API key in the header " code { "xi-api-key" } ". Bodies and answers are JSON. The paths and \
                        names are those of the ElevenLabs workspace API, so its official SDKs work with this server as their base \
                        URL. The same in a form for programs: " a href="/openapi.json" { "/openapi.json" } "."
                    }
                    @for tag in &tags {
                        h2 id=(anchor(tag)) { (tag) }
                        @for route in of(tag) { (endpoint(route, description)) }
                    }
                    (errors())
                }
            }
        }
    }
}

fn anchor(tag: &str) -> String {
    tag.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// `create_service_account` as people read it.
fn spoken(id: &str) -> String {
    let words = id.replace('_', " ").replace("api key", "API key");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn endpoint(route: &Route, description: &Value) -> Markup {
    let operation = &description["paths"][route.path][route.method.as_str().to_lowercase()];
    let body = schema_of(&operation["requestBody"]);
    let answer = schema_of(&operation["responses"]["200"]);
    let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        section id=(route.id) {
            h3 { (spoken(route.id)) }
            p.route { span class={ "method " (route.method.as_str().to_lowercase()) } { (route.method.as_str()) } " " code { (route.path) } }
            p { (route.summary) "." }
            p.who { (operation["description"].as_str().unwrap_or_default()) }
            @if !parameters.is_empty() {
                h4 { "Parameters" }
                dl {
                    @for parameter in parameters {
                        dt {
                            code { (text(&parameter["name"])) }
                            span.kind { (text(&parameter["in"])) ", " (kind(&parameter["schema"], description)) @if parameter["required"] == true { ", required" } }
                        }
                        dd { (marked(text(&parameter["description"]))) }
                    }
                }
            }
            @if let Some(name) = body { (fields("Body", name, description)) }
            @if let Some(name) = answer { (fields("Answer", name, description)) }
        }
    }
}

/// The name of the schema of a body or an answer.
fn schema_of(content: &Value) -> Option<&str> {
    content["content"]["application/json"]["schema"]["$ref"].as_str()?.rsplit('/').next()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Text in which `code` stands between backticks.
fn marked(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn fields(heading: &str, name: &str, description: &Value) -> Markup {
    let (many, name) = one_of_many(name, description);
    let must = if heading == "Body" { "required" } else { "always there" };
    let mut properties = Vec::new();
    collect(name, description, &mut properties, 0);
    html! {
        details {
            summary { (heading) " " @if !many.is_empty() { (many) " " } code { (name) } }
            @if properties.is_empty() { p { "An object." } }
            dl {
                @for (name, property, required) in &properties {
                    dt { code { (name) } span.kind { (kind(property, description)) @if *required { ", " (must) } } }
                    dd { (marked(about(property))) }
                }
            }
        }
    }
}

/// The word on a property; of one that may be null, it stands beside what else it may be.
fn about(property: &Value) -> &str {
    let own = property["description"].as_str();
    let choices = || property["oneOf"].as_array()?.iter().find_map(|choice| choice["description"].as_str());
    own.or_else(choices).unwrap_or_default()
}

/// What a body or an answer consists of, where it is no object itself: each of a list, of a map by id, or of alternatives.
fn one_of_many<'a>(name: &'a str, description: &'a Value) -> (&'static str, &'a str) {
    let schema = &description["components"]["schemas"][name];
    let choices = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    let ways = [
        ("a list of", named(&schema["items"])),
        ("by id:", named(&schema["additionalProperties"])),
        ("one, or a list, of", choices.and_then(|choices| choices.iter().find_map(named))),
    ];
    ways.into_iter().find_map(|(many, name)| Some((many, name?))).unwrap_or(("", name))
}

/// A schema's properties, those it is put together from included.
fn collect<'a>(name: &str, description: &'a Value, into: &mut Vec<(&'a str, &'a Value, bool)>, depth: usize) {
    let schema = &description["components"]["schemas"][name];
    for part in schema["allOf"].as_array().into_iter().flatten() {
        match named(part) {
            Some(name) if depth < 4 => collect(name, description, into, depth + 1),
            _ => own(part, into),
        }
    }
    own(schema, into);
}

fn own<'a>(schema: &'a Value, into: &mut Vec<(&'a str, &'a Value, bool)>) {
    let required = schema["required"].as_array();
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let is_required = required.is_some_and(|names| names.iter().any(|known| known == name));
        into.push((name, property, is_required));
    }
}

/// A type as people read it: of a name, what it stands for, unless that is an object.
fn kind(property: &Value, description: &Value) -> String {
    if let Some(name) = named(property) {
        let schema = &description["components"]["schemas"][name];
        let is_object = schema["properties"].is_object() || schema["allOf"].is_array();
        return if is_object { name.to_owned() } else { kind(schema, description) };
    }
    if let Some(words) = property["enum"].as_array().filter(|words| words.len() <= MOST_WORDS) {
        return alternatives(words.iter().map(|word| word.as_str().map_or_else(|| word.to_string(), str::to_owned)));
    }
    if let Some(choices) = property["oneOf"].as_array().or(property["anyOf"].as_array()) {
        return alternatives(choices.iter().map(|choice| kind(choice, description)));
    }
    let of_type = |kind: &str| match kind {
        "array" => format!("list of {}", self::kind(&property["items"], description)),
        kind => kind.to_owned(),
    };
    match &property["type"] {
        Value::String(kind) => of_type(kind),
        Value::Array(kinds) => alternatives(kinds.iter().map(|kind| of_type(text(kind)))),
        _ => "anything".into(),
    }
}

/// Each once.
fn alternatives(kinds: impl Iterator<Item = String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for kind in kinds {
        if !seen.contains(&kind) {
            seen.push(kind);
        }
    }
    seen.join(" or ")
}

/// The name that a schema refers to.
fn named(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.rsplit('/').next()
}

fn errors() -> Markup {
    html! {
        h2 id="errors" { "Errors" }
        p {
            "Every error has a JSON body: " code { "{\"detail\": {\"type\", \"code\", \"message\", \"status\", \"request_id\"}}" }
            ", and with status 422 " code { "{\"detail\": [{\"loc\", \"msg\", \"type\"}]}" } " with every mistake of the request."
        }
        div.scroll {
            table {
                thead { tr { th scope="col" { "code" } th scope="col" { "status" } th scope="col" { "type" } } }
                tbody {
                    @for code in stead_api::error::ErrorCode::ALL {
                        tr { td { code { (code.as_str()) } } td { (code.status()) } td { (code.kind()) } }
                    }
                }
            }
        }
    }
}

const STYLE: &str = "\
:root{--ink:#1c2430;--soft:#5a6675;--paper:#fff;--panel:#f5f6f8;--line:#dfe3e8;--accent:#0b5fa5;\
--get:#1a6e3c;--post:#0b5fa5;--patch:#8a5300;--delete:#b3261e}\
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa6b5;--paper:#14181e;--panel:#1c222b;--line:#2d3642;\
--accent:#7db8f0;--get:#7bd19b;--post:#7db8f0;--patch:#e8b465;--delete:#f29a93}}\
*{box-sizing:border-box}html{scroll-behavior:smooth;scroll-padding-top:1rem}\
@media(prefers-reduced-motion:reduce){html{scroll-behavior:auto}}\
body{margin:0;color:var(--ink);background:var(--paper);font:16px/1.55 system-ui,sans-serif;display:grid;grid-template-columns:18rem minmax(0,1fr)}\
a{color:var(--accent)}a:focus-visible,summary:focus-visible{outline:2px solid var(--accent);outline-offset:2px;border-radius:2px}\
.skip{position:absolute;left:-100rem}.skip:focus{left:1rem;top:1rem;background:var(--paper);padding:.5rem;z-index:1}\
nav{background:var(--panel);border-right:1px solid var(--line);padding:1.25rem;height:100vh;position:sticky;top:0;overflow:auto;font-size:.875rem}\
nav .name{font-weight:700;font-size:1.125rem;margin:0 0 1rem}nav .name span{display:block;font-weight:400;font-size:.8125rem;color:var(--soft)}\
nav h2{font-size:.8125rem;margin:1.1rem 0 .3rem}nav h2 a{color:var(--ink);text-decoration:none}\
nav ul{list-style:none;margin:0;padding:0}nav li a{display:block;padding:.15rem 0;color:var(--soft);text-decoration:none}\
nav a:hover{text-decoration:underline;color:var(--accent)}\
main{padding:2rem clamp(1rem,4vw,3.5rem) 6rem;max-width:60rem}\
h1{margin:0 0 .5rem;font-size:1.75rem}main>h2{margin:3rem 0 0;padding-bottom:.4rem;border-bottom:1px solid var(--line);font-size:1.375rem}\
section{padding:1.25rem 0;border-bottom:1px solid var(--line)}h3{margin:0 0 .25rem;font-size:1.0625rem}h4{margin:1rem 0 .25rem;font-size:.875rem}\
p{margin:.4rem 0}.who{color:var(--soft);font-size:.9375rem}\
code{font:.875em/1.4 ui-monospace,monospace;overflow-wrap:anywhere}.route code{font-size:.9375rem}\
.method{font:700 .75rem/1 ui-monospace,monospace;display:inline-block;min-width:3.6rem;color:var(--soft)}\
.get{color:var(--get)}.post{color:var(--post)}.patch,.put{color:var(--patch)}.delete{color:var(--delete)}\
details{margin:.5rem 0 0}summary{cursor:pointer;font-weight:600;font-size:.9375rem;padding:.2rem 0}summary code{font-weight:400;color:var(--soft)}\
dl{margin:.25rem 0 0;display:grid;grid-template-columns:minmax(9rem,17rem) minmax(0,1fr);gap:.35rem 1rem;font-size:.9375rem}\
dt,dd{margin:0}dd{color:var(--soft)}.kind{display:block;color:var(--soft);font-size:.8125rem}\
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.9375rem}th,td{text-align:left;padding:.3rem 1.25rem .3rem 0;border-bottom:1px solid var(--line)}\
@media(max-width:800px){body{display:block}nav{position:static;height:auto;max-height:45vh;border-right:0;border-bottom:1px solid var(--line)}dl{grid-template-columns:1fr;gap:0}dd{margin:0 0 .6rem}}";
