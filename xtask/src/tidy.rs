//! `cargo xtask tidy`: the rules of the house that no compiler knows. Each one's message says what to do instead.

use std::fs;
use std::path::Path;

use crate::arguments::Arguments;
use crate::process::{Outcome, root};

const LINES: usize = 700;

/// Files that are one long list and better left whole. Lengthen it on purpose only.
const TABLES: &[&str] = &[];

const MEANINGLESS: &[&str] = &["core", "common", "util", "utils", "helpers"];

/// Words that belong to one place.
struct Door {
    words: &'static [&'static str],
    home: &'static str,
    /// Files of these names are at home, too.
    named: &'static [&'static str],
    among: &'static [&'static str],
    instead: &'static str,
}

const PURE: &[&str] = &["crates/server/src/", "crates/verify/src/", "crates/api/src/"];

const DOORS: &[Door] = &[
    Door {
        words: &["axum"],
        home: "crates/server/src/http/",
        named: &["routes.rs", "forward_auth.rs", "ext_authz.rs"],
        among: &["crates/server/src/"],
        instead: "leave HTTP to the feature's routes.rs, and give this function plain values",
    },
    Door {
        words: &["rusqlite", "tokio_postgres"],
        home: "crates/server/src/store/",
        named: &[],
        among: &["crates/"],
        instead: "call the store: nothing outside store/ knows which database runs",
    },
    Door {
        words: &["SystemTime::now"],
        home: "crates/server/src/clock.rs",
        named: &[],
        among: PURE,
        instead: "ask the Clock that was handed in, so that a test can move it",
    },
    Door {
        words: &["std::env"],
        home: "crates/server/src/config.rs",
        named: &[],
        among: PURE,
        instead: "make it a setting and read it in config.rs, so that all mistakes are told at once",
    },
];

struct Source {
    /// From the workspace's root, with slashes.
    path: String,
    text: String,
}

pub(crate) fn run(arguments: Arguments) -> Outcome {
    arguments.done()?;
    check_workspace()
}

pub(crate) fn check_workspace() -> Outcome {
    let root = root();
    let mut sources = Vec::new();
    for top in ["Cargo.toml", "crates", "fuzz", "xtask"] {
        read(&root, top, &mut sources).map_err(|error| format!("can't read {top}: {error}"))?;
    }
    let faults = check(&sources);
    for fault in &faults {
        eprintln!("{fault}");
    }
    match faults.len() {
        0 => Ok(()),
        count => Err(format!("tidy found {count} to mend, listed above")),
    }
}

fn read(root: &Path, path: &str, sources: &mut Vec<Source>) -> std::io::Result<()> {
    let place = root.join(path);
    if place.is_dir() {
        let mut names: Vec<_> = fs::read_dir(&place)?.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        for name in names {
            let name = name.to_string_lossy();
            if !matches!(name.as_ref(), "target" | "node_modules") {
                read(root, &format!("{path}/{name}"), sources)?;
            }
        }
    } else if place.extension().is_some_and(|kind| kind == "rs") || path.ends_with("Cargo.toml") {
        sources.push(Source { path: path.to_owned(), text: fs::read_to_string(place)? });
    }
    Ok(())
}

fn check(sources: &[Source]) -> Vec<String> {
    let features: Vec<_> = sources.iter().filter_map(|source| feature_with_queries(&source.path)).collect();
    let mut faults = Vec::new();
    for source in sources {
        if source.path.ends_with("Cargo.toml") {
            faults.extend(licence(source));
        } else if source.path.contains("/src/") {
            faults.extend(length(source));
            faults.extend(name(source));
            let code = Source { path: source.path.clone(), text: without_comments(&source.text) };
            faults.extend(doors(&code));
            // The chores speak of the house; they are not in it.
            if code.path.starts_with("crates/") {
                faults.extend(features.iter().filter_map(|feature| foreign_queries(&code, feature)));
            }
        }
    }
    faults
}

fn licence(Source { path, text }: &Source) -> Option<String> {
    let named = |line: &str| matches!(line.trim(), "license.workspace = true" | "license = \"Apache-2.0\"");
    (!text.lines().any(named)).then(|| format!("{path}: no licence; write `license.workspace = true` under [package]"))
}

fn length(Source { path, text }: &Source) -> Option<String> {
    let tests = path.contains("/tests/") || path.ends_with("/tests.rs");
    if tests || TABLES.contains(&path.as_str()) {
        return None;
    }
    // Unit tests close a file and are read apart from it.
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text);
    let lines = code.lines().count();
    (lines > LINES).then(|| {
        format!("{path}: {lines} lines; most files have under 300 and none over {LINES}: cut it where the reader would")
    })
}

fn name(Source { path, .. }: &Source) -> Option<String> {
    let (_, inside) = path.split_once("/src/")?;
    let part = inside.split('/').map(|part| part.trim_end_matches(".rs")).find(|part| MEANINGLESS.contains(part))?;
    Some(format!("{path}: `{part}` says nothing; name it after what it does, or move it to its only user"))
}

fn doors(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for Door { words, home, named, among, instead } in DOORS {
        let file = source.path.rsplit('/').next().unwrap_or_default();
        let at_home = source.path.starts_with(home) || named.contains(&file);
        let concerned = among.iter().any(|place| source.path.starts_with(place)) && !at_home;
        for word in words.iter().filter(|_| concerned) {
            faults.extend(
                source
                    .text
                    .match_indices(word)
                    .map(|(at, _)| format!("{}: only {home} may name {word}; {instead}", place(source, at))),
            );
        }
    }
    faults
}

/// `keys` for `crates/server/src/keys/queries.rs`.
fn feature_with_queries(path: &str) -> Option<&str> {
    path.strip_prefix("crates/server/src/")?.strip_suffix("/queries.rs")
}

fn foreign_queries(source: &Source, feature: &str) -> Option<String> {
    if source.path.starts_with(&format!("crates/server/src/{feature}/")) {
        return None;
    }
    let path = format!("{feature}::");
    let (at, _) = source.text.match_indices(&path).find(|(at, _)| {
        let (before, after) = (&source.text[..*at], &source.text[at + path.len()..]);
        let whole_word = before.is_empty() || before.ends_with(between_words);
        let named = match after.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap_or(group),
            None => after.split(between_words).next().unwrap_or(after),
        };
        let mut names = named.split(between_words);
        whole_word && names.any(|name| name == "queries")
    })?;
    Some(format!(
        "{}: {feature}::queries is that feature's own; call an operation of {feature}/mod.rs, or add one",
        place(source, at)
    ))
}

fn between_words(letter: char) -> bool {
    !letter.is_alphanumeric() && letter != '_'
}

fn place(source: &Source, at: usize) -> String {
    format!("{}:{}", source.path, source.text[..at].matches('\n').count() + 1)
}

/// Prose may name what code may not. Lines stay where they were.
fn without_comments(text: &str) -> String {
    let code = |line: &str| {
        if line.trim_start().starts_with("//") { String::new() } else { line.to_owned() }
    };
    text.lines().map(|line| code(line) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, text: &str) -> Vec<String> {
        let feature = Source { path: "crates/server/src/keys/queries.rs".into(), text: String::new() };
        check(&[feature, Source { path: path.into(), text: text.into() }])
    }

    fn passes(path: &str, text: &str) -> bool {
        faults(path, text).is_empty()
    }

    #[test]
    fn every_manifest_names_the_licence() {
        assert!(passes("crates/api/Cargo.toml", "[package]\nlicense.workspace = true\n"));
        assert!(passes("Cargo.toml", "[workspace.package]\nlicense = \"Apache-2.0\"\n"));
        assert!(!passes("crates/api/Cargo.toml", "[package]\nlicense = \"MIT\"\n"));
    }

    #[test]
    fn long_files_are_refused_but_not_their_tests() {
        let long = "//\n".repeat(LINES);
        assert!(passes("crates/api/src/ids.rs", &long));
        assert!(passes("crates/api/src/ids.rs", &format!("{long}#[cfg(test)]\nmod tests {{\n{long}}}\n")));
        assert!(!passes("crates/api/src/ids.rs", &format!("{long}//\n")));
        assert!(passes("crates/api/src/ids/tests.rs", &format!("{long}//\n")));
    }

    #[test]
    fn names_say_something() {
        assert!(!passes("crates/api/src/util.rs", ""));
        assert!(!passes("crates/api/src/common/ids.rs", ""));
        assert!(passes("crates/api/src/utility_bill.rs", ""));
    }

    #[test]
    fn doors_are_told_with_their_line() {
        let found = faults("crates/server/src/keys/mod.rs", "// rusqlite\n\nuse rusqlite::Row;\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("crates/server/src/keys/mod.rs:3: only crates/server/src/store/"), "{found:?}");

        assert!(passes("crates/server/src/store/sqlite.rs", "use rusqlite::Row;"));
        assert!(!passes("crates/stead/src/doctor.rs", "use tokio_postgres::Client;"));
        assert!(!passes("crates/verify/src/decide.rs", "SystemTime::now()"));
        assert!(passes("crates/server/src/clock.rs", "SystemTime::now()"));
        assert!(!passes("crates/server/src/clock.rs", "std::env::var(\"HOME\")"));
        assert!(passes("crates/stead/src/main.rs", "std::env::args()"));
        assert!(passes("crates/server/src/keys/routes.rs", "use axum::Json;"));
        assert!(!passes("crates/server/src/keys/mod.rs", "use axum::Json;"));
    }

    #[test]
    fn queries_stay_in_their_feature() {
        let other = "crates/server/src/accounts/mod.rs";
        assert!(!passes(other, "keys::queries::insert(tx)"));
        assert!(!passes(other, "use crate::keys::{\n    self,\n    queries,\n};"));
        assert!(passes(other, "use crate::keys::{self, Key};\nuse super::queries;"));
        assert!(passes(other, "api_keys::queries; keys::queries_of(account)"));
        assert!(passes("crates/server/src/keys/mod.rs", "crate::keys::queries::insert(tx)"));
    }
}
