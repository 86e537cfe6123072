//! Reading input field by field, so that all mistakes are told at once, in the wire's shape C (§3.1).
//!
//! Unknown fields are ignored, as the SDKs need; null and `"no_update"` mean "unchanged" where a field may be absent.

use crate::error::{Failure, field_error};
use ipnet::IpNet;
use serde_json::{Map, Value};
use std::net::IpAddr;
use stead_api::error::FieldError;
use stead_api::key::{Change, Permissions, RateLimit, RateLimitScope};
use stead_api::permission::Catalogue;
use stead_api::resource::Role;
use stead_verify::limits::MAX_RATE_LIMITS;

/// Most networks of a key (wire §7.2).
const MAX_NETWORKS: usize = 100;
/// Most mistakes that are told of one body.
pub const MAX_MISTAKES: usize = 100;
/// Most things of a kind that a concurrency limit can allow at once.
pub const MAX_AT_ONCE: i64 = 10_000;
/// Numbers on the wire must be exact in every client: up to 2^53 − 1.
pub const MAX_NUMBER: i64 = 9_007_199_254_740_991;

/// The longest e-mail address (RFC 5321).
pub const EMAIL: usize = 254;

/// Most uses that a rate limit can allow, and its longest window in seconds: 31 days.
const MAX_RATE: i64 = 1_000_000_000;
const LONGEST_WINDOW: i64 = 31 * 86_400;
/// The last second of the year 9999: later ones have no place in RFC 3339.
const LAST_SECOND: i64 = 253_402_300_799;

/// A JSON object being read.
pub struct Fields<'a> {
    object: &'a Map<String, Value>,
    mistakes: Vec<FieldError>,
}

/// A body as an object, or the mistake that it is none.
pub fn object(body: &Value) -> Result<&Map<String, Value>, Failure> {
    body.as_object()
        .ok_or_else(|| Failure::invalid(&["body"], "model_attributes_type", "Input should be a valid object"))
}

impl<'a> Fields<'a> {
    /// Begins reading.
    pub fn new(object: &'a Map<String, Value>) -> Self {
        Self { object, mistakes: Vec::new() }
    }

    /// What was read, if there was no mistake.
    pub fn finish<T>(self, value: T) -> Result<T, Failure> {
        if self.mistakes.is_empty() { Ok(value) } else { Err(Failure::Invalid(self.mistakes)) }
    }

    /// Notes a mistake in a field.
    pub fn mistake(&mut self, name: &str, kind: &str, message: impl Into<String>) {
        // Nobody reads more, and a small body could make millions.
        if self.mistakes.len() < MAX_MISTAKES {
            self.mistakes.push(field_error(&["body", name], kind, message));
        }
    }

    /// An object within the object, read by `read`, or absent. Its mistakes are told as the whole body's.
    pub fn nested<T>(&mut self, name: &str, read: impl FnOnce(&mut Fields<'a>) -> T) -> Option<T> {
        let Value::Object(object) = self.value(name)? else {
            self.mistake(name, "model_attributes_type", "Input should be a valid object");
            return None;
        };
        let mut fields = Fields::new(object);
        let value = read(&mut fields);
        for mut mistake in fields.mistakes {
            mistake.loc.insert(1, name.into());
            if self.mistakes.len() < MAX_MISTAKES {
                self.mistakes.push(mistake);
            }
        }
        Some(value)
    }

    /// The value, unless it is absent or null.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// Text that must be there.
    pub fn required_text(&mut self, name: &str, longest: usize) -> String {
        if self.object.contains_key(name) {
            let text = self.text_of(name, &self.object[name], 1, longest);
            return text.unwrap_or_default();
        }
        self.mistake(name, "missing", "Field required");
        String::new()
    }

    /// Text that may be absent.
    pub fn text(&mut self, name: &str, shortest: usize, longest: usize) -> Option<String> {
        let value = self.value(name)?;
        self.text_of(name, value, shortest, longest)
    }

    fn text_of(&mut self, name: &str, value: &Value, shortest: usize, longest: usize) -> Option<String> {
        let Value::String(text) = value else {
            self.mistake(name, "string_type", "Input should be a valid string");
            return None;
        };
        let length = text.chars().count();
        if length < shortest || (shortest > 0 && text.trim().is_empty()) {
            self.mistake(name, "string_too_short", format!("String should have at least {shortest} character"));
        } else if length > longest {
            self.mistake(name, "string_too_long", format!("String should have at most {longest} characters"));
        } else if !text.chars().all(is_printable) {
            self.mistake(name, "value_error", "must not contain control or text-direction characters");
        } else {
            return Some(text.clone());
        }
        None
    }

    /// An e-mail address that a mail can be sent to, in lower case.
    pub fn required_email(&mut self, name: &str) -> String {
        let before = self.mistakes.len();
        let text = self.required_text(name, EMAIL);
        let read = email(&text);
        if read.is_none() && self.mistakes.len() == before {
            self.mistake(name, "value_error", NO_EMAIL);
        }
        read.unwrap_or_default()
    }

    /// At least one and at most `most` such addresses.
    pub fn required_emails(&mut self, name: &str, most: usize) -> Vec<String> {
        if self.value(name).is_none() {
            self.mistake(name, "missing", "Field required");
        }
        let emails = self.items(name, 1, most, |item| item.as_str().and_then(email), NO_EMAIL);
        emails.unwrap_or_default()
    }

    /// Ids, or absent.
    pub fn ids(&mut self, name: &str, most: usize) -> Option<Vec<String>> {
        let plain = |item: &Value| item.as_str().map(super::extract::id).filter(|id| !id.is_empty());
        self.items(name, 0, most, plain, "must be an id")
    }

    /// The items of a list, or absent.
    fn items(
        &mut self,
        name: &str,
        least: usize,
        most: usize,
        read: impl Fn(&Value) -> Option<String>,
        told: &str,
    ) -> Option<Vec<String>> {
        let Value::Array(items) = self.value(name)? else {
            self.mistake(name, "list_type", "Input should be a valid list");
            return None;
        };
        if items.len() < least {
            self.mistake(name, "too_short", format!("List should have at least {least} item"));
        } else if items.len() > most {
            self.mistake(name, "too_long", format!("List should have at most {most} items"));
            return None;
        }
        let mut texts = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            match read(item) {
                Some(text) => texts.push(text),
                None => self.item_mistake(name, place, "value_error", told),
            }
        }
        Some(texts)
    }

    /// True or false, or absent.
    pub fn boolean(&mut self, name: &str) -> Option<bool> {
        let value = self.value(name)?;
        self.boolean_of(name, value)
    }

    fn boolean_of(&mut self, name: &str, value: &Value) -> Option<bool> {
        let read = value.as_bool();
        if read.is_none() {
            self.mistake(name, "bool_type", "Input should be a valid boolean");
        }
        read
    }

    /// A number within bounds, or absent.
    pub fn number(&mut self, name: &str, least: i64, most: i64) -> Option<i64> {
        let value = self.value(name)?;
        self.number_of(name, value, least, most)
    }

    fn number_of(&mut self, name: &str, value: &Value, least: i64, most: i64) -> Option<i64> {
        // 5.0 is 5: JavaScript knows no difference.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "checked to be whole and exact"
        )]
        let whole = |number: f64| (number.fract() == 0.0 && number.abs() <= MAX_NUMBER as f64).then_some(number as i64);
        let Some(number) = value.as_i64().or_else(|| value.as_f64().and_then(whole)) else {
            self.mistake(name, "int_type", "Input should be a valid integer");
            return None;
        };
        if number < least {
            self.mistake(name, "greater_than_equal", format!("Input should be greater than or equal to {least}"));
            None
        } else if number > most {
            self.mistake(name, "less_than_equal", format!("Input should be less than or equal to {most}"));
            None
        } else {
            Some(number)
        }
    }

    /// One of the wire's tokens in place of a value.
    fn token(value: &Value, token: &str) -> bool {
        value.as_str() == Some(token)
    }

    /// A field of a PATCH: a value, `"clear"`, or (absent, null, `"no_update"`) nothing.
    fn change<T>(&mut self, name: &str, read: impl FnOnce(&mut Self, &'a Value) -> Option<T>) -> Option<Change<T>> {
        match self.value(name)? {
            value if Self::token(value, "no_update") => None,
            value if Self::token(value, "clear") => Some(Change::Clear),
            value => read(self, value).map(Change::Set),
        }
    }

    /// A number in a PATCH.
    pub fn number_change(&mut self, name: &str, least: i64, most: i64) -> Option<Change<i64>> {
        self.change(name, |fields, value| fields.number_of(name, value, least, most))
    }

    /// True or false in a PATCH.
    pub fn boolean_change(&mut self, name: &str) -> Option<Change<bool>> {
        self.change(name, |fields, value| fields.boolean_of(name, value))
    }

    /// Networks in a PATCH.
    pub fn networks_change(&mut self, name: &str) -> Option<Change<Vec<String>>> {
        self.change(name, |fields, value| fields.networks_of(name, value))
    }

    /// True or false or `"no_update"`.
    pub fn boolean_or_no_update(&mut self, name: &str) -> Option<bool> {
        let value = self.value(name).filter(|value| !Self::token(value, "no_update"))?;
        self.boolean_of(name, value)
    }

    /// Networks, or absent.
    pub fn networks(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.value(name)?;
        self.networks_of(name, value)
    }

    /// Addresses and networks, written out as networks. An address becomes a network of one; an IPv4 address in its
    /// IPv6 form becomes IPv4, since that is how callers' addresses are compared.
    fn networks_of(&mut self, name: &str, value: &Value) -> Option<Vec<String>> {
        let Value::Array(items) = value else {
            self.mistake(name, "list_type", "Input should be a valid list");
            return None;
        };
        if items.is_empty() {
            self.mistake(name, "too_short", "List should have at least 1 item");
            return None;
        }
        if items.len() > MAX_NETWORKS {
            self.mistake(name, "too_long", format!("List should have at most {MAX_NETWORKS} items"));
            return None;
        }
        let before = self.mistakes.len();
        let mut networks: Vec<String> = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            match item.as_str().and_then(network) {
                Some(network) => networks.push(network),
                None => self.item_mistake(
                    name,
                    place,
                    "value_error",
                    "must be an IPv4 or IPv6 address, or a network as in 10.0.0.0/24",
                ),
            }
        }
        networks.dedup();
        (self.mistakes.len() == before).then_some(networks)
    }

    /// Notes the mistakes of an item of a list.
    pub fn in_item(&mut self, name: &str, place: usize, mistakes: Vec<FieldError>) {
        let room = MAX_MISTAKES.saturating_sub(self.mistakes.len());
        self.mistakes.extend(mistakes.into_iter().take(room).map(|mistake| within(mistake, name, place)));
    }

    fn item_mistake(&mut self, name: &str, place: usize, kind: &str, message: &str) {
        if self.mistakes.len() < MAX_MISTAKES {
            let mut mistake = field_error(&["body", name], kind, message);
            mistake.loc.push(place.into());
            self.mistakes.push(mistake);
        }
    }

    /// Rate limits, or absent.
    pub fn rate_limits(&mut self, name: &str) -> Option<Vec<RateLimit>> {
        let value = self.value(name)?;
        self.rate_limits_of(name, value)
    }

    /// Rate limits in a PATCH.
    pub fn rate_limits_change(&mut self, name: &str) -> Option<Change<Vec<RateLimit>>> {
        self.change(name, |fields, value| fields.rate_limits_of(name, value))
    }

    fn rate_limits_of(&mut self, name: &str, value: &Value) -> Option<Vec<RateLimit>> {
        let Value::Array(items) = value else {
            self.mistake(name, "list_type", "Input should be a valid list");
            return None;
        };
        if items.len() > MAX_RATE_LIMITS {
            self.mistake(name, "too_long", format!("List should have at most {MAX_RATE_LIMITS} items"));
            return None;
        }
        let before = self.mistakes.len();
        let mut limits: Vec<RateLimit> = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            match item.as_object() {
                None => self.item_mistake(name, place, "model_attributes_type", "Input should be a valid object"),
                Some(object) => {
                    let mut fields = Fields::new(object);
                    let limit = fields.rate_limit();
                    if limits.iter().any(|other| !limit.name.is_empty() && other.name == limit.name) {
                        fields.mistake("name", "value_error", "another rate limit of the key has this name");
                    }
                    limits.push(limit);
                    self.mistakes.extend(fields.mistakes.into_iter().map(|mistake| within(mistake, name, place)));
                }
            }
        }
        (self.mistakes.len() == before).then_some(limits)
    }

    fn rate_limit(&mut self) -> RateLimit {
        let mut required = |name: &str, least, most| {
            if self.value(name).is_none() {
                self.mistake(name, "missing", "Field required");
            }
            self.number(name, least, most).unwrap_or_default()
        };
        let (limit, window_seconds) = (required("limit", 0, MAX_RATE), required("window_seconds", 1, LONGEST_WINDOW));
        let per = match self.value("per").map(Value::as_str) {
            None | Some(Some("key")) => RateLimitScope::Key,
            Some(Some("lineage")) => RateLimitScope::Lineage,
            Some(_) => {
                self.mistake("per", "enum", "Input should be 'key' or 'lineage'");
                RateLimitScope::Key
            }
        };
        RateLimit { name: self.required_text("name", 64), limit, window_seconds, per }
    }

    /// A list of permissions or the word `all`, or absent (for a PATCH: `"no_update"` too).
    pub fn permissions(&mut self, name: &str, catalogue: &Catalogue) -> Option<Permissions> {
        match self.value(name)? {
            value if Self::token(value, "no_update") => None,
            value if Self::token(value, "all") => Some(Permissions::All),
            value => self.permission_names(name, value, catalogue).map(Permissions::List),
        }
    }

    /// A list of permissions in a PATCH.
    pub fn permission_names_change(&mut self, name: &str, catalogue: &Catalogue) -> Option<Change<Vec<String>>> {
        self.change(name, |fields, value| fields.permission_names(name, value, catalogue))
    }

    /// A list of permissions of the catalogue, each once.
    pub fn permission_names(&mut self, name: &str, value: &Value, catalogue: &Catalogue) -> Option<Vec<String>> {
        let Value::Array(items) = value else {
            self.mistake(name, "list_type", "Input should be a list of permissions or 'all'");
            return None;
        };
        let before = self.mistakes.len();
        let mut names: Vec<String> = Vec::new();
        for (place, item) in items.iter().enumerate() {
            match item.as_str().filter(|text| catalogue.place(text).is_some()) {
                Some(text) if names.iter().any(|known| known == text) => {}
                Some(text) => names.push(text.to_owned()),
                None => {
                    self.item_mistake(name, place, "enum", "Input should be a permission of this server's catalogue");
                }
            }
        }
        (self.mistakes.len() == before).then_some(names)
    }

    /// A list of words out of a fixed list, each once, or absent.
    pub fn words(&mut self, name: &str, known: &[&str]) -> Option<Vec<String>> {
        let Value::Array(items) = self.value(name)? else {
            self.mistake(name, "list_type", "Input should be a valid list");
            return None;
        };
        let before = self.mistakes.len();
        let mut words: Vec<String> = Vec::new();
        for (place, item) in items.iter().enumerate() {
            match item.as_str().filter(|text| known.contains(text)) {
                Some(text) if words.iter().any(|word| word == text) => {}
                Some(text) => words.push(text.to_owned()),
                None => self.item_mistake(name, place, "enum", "Input should be one of the words that are known here"),
            }
        }
        (self.mistakes.len() == before).then_some(words)
    }

    /// An object within the object, or absent; what is wrong in it is told with its place.
    pub fn object<T>(&mut self, name: &str, read: impl FnOnce(&mut Fields<'a>) -> T) -> Option<T> {
        let value = self.value(name)?;
        let Some(object) = value.as_object() else {
            self.mistake(name, "model_attributes_type", "Input should be a valid object");
            return None;
        };
        let mut fields = Fields::new(object);
        let value = read(&mut fields);
        self.mistakes.extend(fields.mistakes.into_iter().map(|mut mistake| {
            mistake.loc.insert(1, name.into());
            mistake
        }));
        Some(value)
    }

    /// A list of objects, or absent.
    pub fn objects<T>(&mut self, name: &str, most: usize, read: impl Fn(&mut Fields<'a>) -> T) -> Option<Vec<T>> {
        let Value::Array(items) = self.value(name)? else {
            self.mistake(name, "list_type", "Input should be a valid list");
            return None;
        };
        if items.len() > most {
            self.mistake(name, "too_long", format!("List should have at most {most} items"));
            return None;
        }
        let mut read_items = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let Some(object) = item.as_object() else {
                self.item_mistake(name, place, "model_attributes_type", "Input should be a valid object");
                continue;
            };
            let mut fields = Fields::new(object);
            read_items.push(read(&mut fields));
            self.mistakes.extend(fields.mistakes.into_iter().map(|mistake| within(mistake, name, place)));
        }
        Some(read_items)
    }

    /// A role, or absent.
    pub fn role(&mut self, name: &str) -> Option<Role> {
        let role = self.value(name)?.as_str().and_then(Role::parse);
        if role.is_none() {
            self.mistake(name, "enum", "Input should be 'admin', 'editor', 'commenter' or 'viewer'");
        }
        role
    }

    /// The token has no meaning where a key is made: it would mean "whatever its maker holds".
    pub fn refuse_token(&mut self, name: &str) {
        if self.value(name).is_some_and(|value| Self::token(value, "no_update")) {
            self.mistake(name, "list_type", "Input should be a list of permissions or 'all'");
        }
    }

    /// An expiry under either of its two names; two different values are a mistake.
    pub fn expiry(&mut self) -> Option<i64> {
        let (official, brief) =
            (self.number("expires_at_unix", 0, LAST_SECOND), self.number("expires_at", 0, LAST_SECOND));
        self.same_expiry(official, brief)
    }

    /// The same in a PATCH.
    pub fn expiry_change(&mut self) -> Option<Change<i64>> {
        let official = self.number_change("expires_at_unix", 0, LAST_SECOND);
        let brief = self.number_change("expires_at", 0, LAST_SECOND);
        self.same_expiry(official, brief)
    }

    fn same_expiry<T: PartialEq>(&mut self, official: Option<T>, brief: Option<T>) -> Option<T> {
        if official.is_some() && brief.is_some() && official != brief {
            self.mistake(
                "expires_at",
                "value_error",
                "expires_at and expires_at_unix are the same thing; they differ here",
            );
        }
        official.or(brief)
    }
}

/// A mistake in an item of a list, told as one of the whole body.
pub fn within(mut mistake: FieldError, list: &str, place: usize) -> FieldError {
    mistake.loc.splice(1..1, [list.into(), place.into()]);
    mistake
}

/// Whether a character may stand in a name: no control characters, and none that turn the direction of the text or
/// hide (U+061C, U+200B–F, U+202A–E, U+2060–9, U+FEFF), with which one name can be made to look like another.
fn is_printable(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

const NO_EMAIL: &str =
    "must be an e-mail address, as in somebody@example.com, in ASCII (an international domain as xn--…)";

/// An e-mail address in lower case, if a mail can be sent there: the part of RFC 5321 that is in use. Other letters than
/// ASCII's could make one address look like another.
fn email(text: &str) -> Option<String> {
    let (local, domain) = text.split_once('@')?;
    let word = |part: &str, more: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let local_fits = local.len() <= 64 && local.split('.').all(|part| word(part, "!#$%&'*+/=?^_`{|}~-"));
    let label = |part: &str| part.len() <= 63 && word(part, "-") && !part.starts_with('-') && !part.ends_with('-');
    let fits = text.len() <= EMAIL && local_fits && domain.split('.').all(label);
    fits.then(|| text.to_ascii_lowercase())
}

/// An address or a network in its canonical form.
fn network(text: &str) -> Option<String> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => text.parse::<IpNet>().ok()?.trunc(),
    };
    // ::ffff:0:0/96 and below is IPv4 in disguise.
    let network = match network {
        IpNet::V6(v6) if v6.prefix_len() >= 96 => match v6.network().to_ipv4_mapped() {
            Some(v4) => IpNet::new(v4.into(), v6.prefix_len() - 96).ok()?,
            None => network,
        },
        other => other,
    };
    Some(network.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn networks_have_one_spelling() {
        for (given, canonical) in [
            ("10.0.0.1", "10.0.0.1/32"),
            ("10.0.0.77/24", "10.0.0.0/24"),
            ("2001:DB8::1", "2001:db8::1/128"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(network(given).as_deref(), Some(canonical), "{given}");
        }
        for bad in
            ["", "10.0.0", "10.0.0.1/33", "10.0.0.1/", "host", "010.0.0.1", "1.2.3.4:80", "fe80::1%eth0", " 10.0.0.1"]
        {
            assert_eq!(network(bad), None, "{bad}");
        }
    }

    #[test]
    fn e_mail_addresses() {
        for (given, read) in [
            ("a@b", "a@b"),
            ("Ann.Lee+x@Mail.Example.COM", "ann.lee+x@mail.example.com"),
            ("o'neill@xn--bcher-kva.example", "o'neill@xn--bcher-kva.example"),
        ] {
            assert_eq!(email(given).as_deref(), Some(read), "{given}");
        }
        let (local, label, long) =
            ("x".repeat(65) + "@b", "a@".to_owned() + &"x".repeat(64), "a@".to_owned() + &"b.".repeat(127) + "cc");
        for bad in [
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a@b c",
            "a@b.",
            "a@.b",
            ".a@b",
            "a..b@c",
            "a@-b",
            "a@b-",
            "ä@b",
            "a@ä.example",
            "<a@b>",
            "a@[127.0.0.1]",
            "\"a\"@b",
            "a@b\r\nBcc: c@d",
            "a,b@c",
            &local,
            &label,
            &long,
        ] {
            assert_eq!(email(bad), None, "{bad}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let body = json!({"name": "", "n": "5", "b": "false", "ips": ["x", 3], "permissions": ["fly"]});
        let mut fields = Fields::new(object(&body).unwrap());
        fields.required_text("name", 10);
        fields.required_text("absent", 10);
        fields.number("n", 0, 9);
        fields.boolean("b");
        fields.networks("ips");
        fields.permissions("permissions", &Catalogue::default());
        let Err(Failure::Invalid(mistakes)) = fields.finish(()) else { panic!("there are mistakes") };
        let kinds: Vec<_> = mistakes.iter().map(|mistake| mistake.kind.as_str()).collect();
        assert_eq!(
            kinds,
            ["string_too_short", "missing", "int_type", "bool_type", "value_error", "value_error", "enum"]
        );
        assert_eq!(json!(mistakes[5].loc), json!(["body", "ips", 1]));
    }

    #[test]
    fn the_tokens_of_a_patch() {
        let body = json!({"a": "clear", "b": "no_update", "c": null, "d": 7, "e": 7.0, "f": 7.5, "g": "seven"});
        let mut fields = Fields::new(object(&body).unwrap());
        let mut read = |name| fields.number_change(name, 0, 10);
        assert_eq!(read("a"), Some(Change::Clear));
        assert_eq!((read("b"), read("c"), read("absent")), (None, None, None));
        assert_eq!((read("d"), read("e")), (Some(Change::Set(7)), Some(Change::Set(7))));
        assert_eq!((read("f"), read("g")), (None, None));
        assert_eq!(fields.mistakes.len(), 2);
    }

    #[test]
    fn names_can_not_hide_or_turn_around() {
        assert!("Ключ 🔑 – straße".chars().all(is_printable));
        for bad in ["\0", "\n", "\u{7f}", "\u{85}", "\u{202e}", "\u{2066}", "\u{200b}", "\u{feff}"] {
            assert!(!bad.chars().all(is_printable), "{bad:?}");
        }
    }
}
