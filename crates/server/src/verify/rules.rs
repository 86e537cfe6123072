//! Path rules: which permissions a request needs, by its method and path, where the proxy's configuration should not
//! have to know. A TOML file, read at start:
//!
//! ```toml
//! [[rule]]
//! methods = ["POST"]                       # absent: any
//! path = "/v1/text-to-speech/{voice_id}"   # {name}: one segment; a final {*rest}: any number, also none
//! permissions = ["text_to_speech"]
//! cost = 1                                 # absent: 0
//! ```
//!
//! The first rule that fits decides. None fits: denied.

use super::path::{NormalPath, normalise};
use crate::http::fields::MAX_NUMBER;
use serde::Deserialize;
use stead_api::permission::Catalogue;
use stead_verify::permissions::PermissionSet;

/// The rules in their order.
#[derive(Clone, Debug)]
pub struct PathRules(Vec<Rule>);

/// What a request needs that a rule fits.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `None`: any.
    methods: Option<Vec<String>>,
    pattern: Vec<Part>,
    /// All of these must be held.
    pub permissions: PermissionSet,
    /// Credits to be charged.
    pub cost: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// This segment, decoded.
    Literal(String),
    /// Any one segment.
    One,
    /// All that follows, also nothing: a rule for what is below a path must not leave out the path itself.
    Rest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    rule: Vec<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    methods: Option<Vec<String>>,
    path: String,
    permissions: Vec<String>,
    #[serde(default)]
    cost: u64,
}

impl PathRules {
    /// Reads the file's text; on failure, every mistake.
    pub fn parse(text: &str, catalogue: &Catalogue) -> Result<Self, Vec<String>> {
        let file: File = toml::from_str(text).map_err(|error| vec![error.message().to_owned()])?;
        let mut mistakes = Vec::new();
        if file.rule.is_empty() {
            mistakes.push("there is no [[rule]]: every request would be denied".to_owned());
        }
        let rules = file.rule.into_iter().zip(1..).filter_map(|(value, number)| {
            let mut told = Vec::new();
            let rule = match value.try_into::<Written>() {
                Ok(written) => Some(rule(&written, catalogue, &mut told)),
                Err(error) => {
                    told.push(error.message().to_owned());
                    None
                }
            };
            mistakes.extend(told.into_iter().map(|mistake| format!("rule {number}: {mistake}")));
            rule
        });
        let rules = rules.collect();
        if mistakes.is_empty() { Ok(Self(rules)) } else { Err(mistakes) }
    }

    /// The first rule that fits.
    pub fn find(&self, method: &str, path: &NormalPath) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.fits_method(method) && fits(&rule.pattern, path))
    }
}

impl Rule {
    fn fits_method(&self, method: &str) -> bool {
        // HEAD shows what GET shows: a rule that forgets it must not leave it to a weaker one below.
        let fits = |named: &String| named == method || (named == "GET" && method == "HEAD");
        self.methods.as_ref().is_none_or(|methods| methods.iter().any(fits))
    }
}

fn fits(pattern: &[Part], path: &NormalPath) -> bool {
    let mut segments = path.segments();
    for part in pattern {
        let fits = match part {
            Part::Rest => return true,
            Part::One => segments.next().is_some(),
            Part::Literal(text) => segments.next() == Some(text),
        };
        if !fits {
            return false;
        }
    }
    segments.next().is_none()
}

fn rule(written: &Written, catalogue: &Catalogue, mistakes: &mut Vec<String>) -> Rule {
    let mut permissions = PermissionSet::EMPTY;
    for name in &written.permissions {
        match catalogue.place(name) {
            Some(place) => permissions.insert(place),
            None => mistakes.push(format!("permissions: there is no permission `{name}`")),
        }
    }
    if written.methods.as_ref().is_some_and(Vec::is_empty) {
        mistakes.push("methods: names none; leave it out for any".into());
    }
    for method in written.methods.iter().flatten().filter(|method| !is_method(method)) {
        mistakes.push(format!("methods: `{method}` is no method in capitals"));
    }
    if written.cost > MAX_NUMBER.unsigned_abs() {
        mistakes.push(format!("cost: must be at most {MAX_NUMBER}"));
    }
    let pattern = pattern(&written.path).unwrap_or_else(|mistake| {
        mistakes.push(format!("path: {mistake}"));
        Vec::new()
    });
    Rule { methods: written.methods.clone(), pattern, permissions, cost: written.cost }
}

/// Whether a method is spelled as rules spell it; another one is told apart by some services and not by others.
pub fn is_method(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

fn pattern(path: &str) -> Result<Vec<Part>, String> {
    let Some(path) = path.strip_prefix('/') else { return Err("must begin with a slash".into()) };
    // A slash at the end is not told apart from none, here as in requests.
    let path = path.strip_suffix('/').unwrap_or(path);
    let mut parts = Vec::new();
    for segment in path.split('/').filter(|_| !path.is_empty()) {
        if parts.last() == Some(&Part::Rest) {
            return Err("nothing can follow {*rest}".into());
        }
        parts.push(match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if is_name(name.strip_prefix('*').unwrap_or(name)) => {
                if name.starts_with('*') {
                    Part::Rest
                } else {
                    Part::One
                }
            }
            Some(_) => return Err(format!("`{segment}` has no name of a-z, 0-9 and _")),
            None => Part::Literal(literal(segment)?),
        });
    }
    Ok(parts)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A rule that no request's normal form could fit would guard nothing.
fn literal(segment: &str) -> Result<String, String> {
    let path = normalise(format!("/{segment}").as_bytes()).map_err(|why| format!("`{segment}`: {why}"))?;
    match path.segments().next() {
        Some(text) if !segment.contains('?') => Ok(text.to_owned()),
        Some(_) => Err(format!("`{segment}`: rules don't read the query")),
        None => Err("it has two slashes in a row".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<PathRules, Vec<String>> {
        PathRules::parse(text, &Catalogue::default())
    }

    /// The cost of the rule that fits: here its number.
    fn found(rules: &PathRules, method: &str, path: &str) -> Option<u64> {
        rules.find(method, &normalise(path.as_bytes()).unwrap()).map(|rule| rule.cost)
    }

    #[test]
    fn the_first_that_fits_decides_and_none_denies() {
        let rules = rules(
            r#"
            [[rule]]
            methods = ["GET"]
            path = "/v1/voices/{id}"
            permissions = ["voices_read"]
            cost = 1
            [[rule]]
            path = "/v1/voices/{id}"
            permissions = ["voices_write"]
            cost = 2
            [[rule]]
            path = "/v1/models:run"
            permissions = []
            cost = 3
            [[rule]]
            path = "/files/{*rest}"
            permissions = []
            cost = 4
            [[rule]]
            methods = ["POST"]
            path = "/"
            permissions = []
            cost = 5
            "#,
        )
        .unwrap();
        for (method, path, rule) in [
            ("GET", "/v1/voices/a", Some(1)),
            ("HEAD", "/v1/voices/a", Some(1)),
            ("GET", "/v1/%76oices/a/?x", Some(1)),
            ("POST", "/v1/voices/a", Some(2)),
            ("GET", "/v1/voices", None),
            ("GET", "/v1/voices/", None),
            ("GET", "/v1/voices/a/b", None),
            ("GET", "/V1/voices/a", None),
            ("GET", "/v1/models%3arun", Some(3)),
            ("GET", "/files", Some(4)),
            ("GET", "/files/", Some(4)),
            ("GET", "/files/a/b", Some(4)),
            ("GET", "/filesystem", None),
            ("POST", "/", Some(5)),
            ("GET", "/", None),
        ] {
            assert_eq!(found(&rules, method, path), rule, "{method} {path}");
        }
        let place = Catalogue::default().place("voices_read").unwrap();
        let asked = rules.find("GET", &normalise(b"/v1/voices/a").unwrap()).unwrap().permissions;
        assert_eq!(asked, std::iter::once(place).collect());
    }

    #[test]
    fn all_mistakes_are_told_with_their_rule() {
        let told = rules(
            r#"
            [[rule]]
            methods = ["get", "POST"]
            path = "v1"
            permissions = ["no_such", "text_to_speech"]
            [[rule]]
            path = "/a"
            permissions = []
            costs = 1
            [[rule]]
            path = "/a//b"
            permissions = []
            [[rule]]
            methods = []
            path = "/{*rest}/b"
            permissions = []
            [[rule]]
            path = "/%2e%2e/{id}"
            permissions = []
            [[rule]]
            path = "/{}"
            permissions = []
            [[rule]]
            path = "/a?b"
            permissions = []
            "#,
        )
        .unwrap_err();
        let rule_numbers: Vec<_> = told.iter().map(|told| told.split(':').next().unwrap()).collect();
        let expected =
            ["rule 1", "rule 1", "rule 1", "rule 2", "rule 3", "rule 4", "rule 4", "rule 5", "rule 6", "rule 7"];
        assert_eq!(rule_numbers, expected, "{told:#?}");
        assert_eq!(rules("").unwrap_err().len(), 1);
        assert_eq!(rules("rules = 1").unwrap_err().len(), 1);
        assert_eq!(rules("not toml").unwrap_err().len(), 1);
    }
}
