//! Settings: a flag, else a `STEAD_…` variable, else the settings file, else the default. All mistakes are told at once.
//! The only place that reads the environment.

use crate::mail::smtp::{self, Mailbox, Server};
use crate::store::Location;
use crate::verify::admission::Proxies;
use crate::verify::proxies::Trusted;
use crate::verify::rules::PathRules;
use crate::webhooks::address::Allowed;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use stead_api::permission::{Catalogue, Permission};
use stead_api::resource::ResourceTypes;
use stead_api::secret::{DEFAULT_PREFIX, Form, Format, MAX_LENGTH, Secret};
use stead_verify::period::Billing;

/// One setting, for the command line's help and for the documentation.
pub struct Setting {
    /// The flag without `--`, the key in the file, and with `STEAD_` in capitals the variable.
    pub name: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// Never a flag: arguments can be read by other users of the machine.
    pub secret: bool,
}

const fn setting(name: &'static str, help: &'static str) -> Setting {
    Setting { name, help, secret: false }
}

const fn secret(name: &'static str, help: &'static str) -> Setting {
    Setting { name, help, secret: true }
}

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    setting("config", "Settings file (TOML); flags and variables win over it"),
    setting("listen", "Address and port to listen on [127.0.0.1:8080]"),
    setting(
        "verify-listen",
        "Address and port, or unix:<path>, of a listener for verification alone, for a trusted network: no key is asked for [none]",
    ),
    setting(
        "max-connections",
        "Connections a listener has at a time, half of them from one address; fewer if file descriptors are short [4096]",
    ),
    setting("data-dir", "Directory of the database, the pepper and the lock [./stead-data]"),
    setting("database-url", "sqlite:<file> or postgres://…[?schema=<name>] [sqlite file in the data directory]"),
    setting("log-format", "text or json [text]"),
    setting(
        "metrics",
        "Who may GET /metrics: private (the verification listener, and this machine where no proxy is), public or off [private]",
    ),
    setting(
        "otlp-endpoint",
        "Address of an OpenTelemetry collector that takes traces by HTTP, as in http://127.0.0.1:4318 [none]",
    ),
    setting("trace-denials", "Of a hundred denied verifications so many make a span, 0–100 [1]"),
    setting("public-url", "The address people and programs reach this server by, where a proxy stands in front"),
    secret(
        "smtp-url",
        "Mail server, as smtps://<user>:<password>@<host>:465 or smtp://…:587; without one, invites' links are shown to who invites [none]",
    ),
    setting("mail-from", "Sender of mails, as in Stead <stead@example.com>; smtp-url needs it"),
    setting("tls-cert", "PEM file with the certificate chain; with tls-key the server speaks HTTPS itself"),
    setting("tls-key", "PEM file with the certificate's private key"),
    setting("admin-email", "E-mail of the owner that the first start makes [owner@localhost]"),
    secret("admin-api-key", "The owner's key at the first start, at least 32 characters [a random one, printed once]"),
    secret(
        "operator-api-key",
        "The operator's credential, for the API of workspaces and nothing else, at least 32 characters [the file operator-key in the data directory]",
    ),
    secret("pepper", "Peppers as <version>:<64 hex digits>[,…] instead of the file in the data directory"),
    setting("seats", "Seats of the workspace that the first start makes; one seat has no service accounts [10]"),
    setting("billing-day", "Day of the month on which a new workspace's credits begin anew, 1–31 [1]"),
    setting("billing-zone", "The zone of that day, as in Europe/Berlin [UTC]"),
    setting(
        "max-staleness",
        "Seconds after which a node that can't reach PostgreSQL stops answering verifications [60]",
    ),
    setting("max-accounts", "Service accounts a workspace may have [20]"),
    setting("max-keys-per-account", "Keys a service account may have [1000]"),
    setting(
        "trusted-proxies",
        "Whose word forward-auth takes on a client's address, method and path: networks, addresses, `unix` [none]",
    ),
    setting("forward-auth-header", "One more header that forward-auth and ext_authz look for a key in [none]"),
    setting(
        "path-rules",
        "TOML file that says which permissions a request at a proxy needs, by method and path [none]",
    ),
    setting(
        "webhook-allow",
        "Networks beyond the public Internet that webhooks may reach, by any port and without TLS, as in 10.0.0.0/8 [none]",
    ),
    setting("key-prefix", "What secrets begin with, before the underscore [stead]"),
];

/// The settings, checked. Not `Debug`: some are secrets.
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to listen for verification alone.
    pub verify_listen: Option<Place>,
    /// Most connections of a listener.
    pub max_connections: usize,
    /// Where the files are.
    pub data_dir: PathBuf,
    /// Where the state is.
    pub database: Location,
    /// Whether log lines are JSON.
    pub log_json: bool,
    /// Who may see the counts.
    pub metrics: Shown,
    /// Where spans go.
    pub collector: Option<Collector>,
    /// The address people reach the server by.
    pub public_url: Option<String>,
    /// The mail server and the sender.
    pub mail: Option<(Server, Mailbox)>,
    /// Certificate chain and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The first owner's e-mail.
    pub admin_email: String,
    /// The first owner's key.
    pub admin_api_key: Option<Secret>,
    /// The operator's credential, if it is set.
    pub operator_api_key: Option<Secret>,
    /// The peppers, if they come from the environment.
    pub peppers: Option<Vec<(u8, [u8; 32])>>,
    /// What is set for a workspace and its accounts.
    pub limits: Limits,
    /// The form of secrets.
    pub format: Format,
    /// What keys may do.
    pub catalogue: Catalogue,
    /// What can be shared.
    pub resource_types: ResourceTypes,
    /// The proxies that ask about requests.
    pub proxies: Proxies,
    /// What webhooks may reach beyond the public Internet.
    pub webhook_allow: Allowed,
}

/// To whom something is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// To whoever comes by the verification listener, or from this machine.
    Private,
    /// To everybody.
    Public,
    /// To nobody.
    Off,
}

/// An OpenTelemetry collector. Not `Debug`: an address may hold a password.
#[derive(Clone)]
pub struct Collector {
    /// Where it takes traces.
    pub traces: String,
    /// How many of a hundred denials it is told of.
    pub denials: u8,
}

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(to),
            Self::Unix(path) => write!(to, "unix:{}", path.display()),
        }
    }
}

/// What a workspace may have.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Seats of a new workspace.
    pub seats: i64,
    /// Day and zone on which a new workspace's credits begin anew.
    pub billing: (i64, String),
    /// Service accounts in a workspace.
    pub accounts: usize,
    /// Keys of one account that are not revoked.
    pub keys_per_account: usize,
    /// Seconds without word from a shared store after which nothing is verified any more.
    pub max_staleness: u64,
}

/// The settings file: every setting by its name, the permission catalogue and the resource types.
#[derive(Default, Deserialize)]
struct File {
    #[serde(flatten)]
    settings: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListFile<T> {
    /// Whether the entries replace the default ones or are added to them.
    #[serde(default)]
    replace: bool,
    #[serde(default = "Vec::new")]
    entries: Vec<T>,
}

/// A list of the settings file that is more than one value.
fn list<T: DeserializeOwned>(file: &mut File, name: &str, mistakes: &mut Vec<String>) -> ListFile<T> {
    let none = ListFile { replace: false, entries: Vec::new() };
    let Some(value) = file.settings.remove(name) else { return none };
    value.try_into().unwrap_or_else(|error| {
        mistakes.push(format!("settings file: {name}: {}", toml::de::Error::message(&error)));
        none
    })
}

impl Config {
    /// Reads the settings. `flags` come from the command line; the environment and the file are read here. Errors
    /// list every mistake, one a line, and never quote a secret.
    pub fn load(flags: &HashMap<&'static str, String>) -> Result<Self, Vec<String>> {
        let variable = |name: &str| format!("STEAD_{}", name.to_uppercase().replace('-', "_"));
        #[allow(clippy::disallowed_methods, reason = "this is the door")]
        let mut environment: HashMap<_, _> = SETTINGS
            .iter()
            .filter_map(|setting| Some((setting.name, std::env::var(variable(setting.name)).ok()?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        // The name that every program with OpenTelemetry knows.
        #[allow(clippy::disallowed_methods, reason = "this is the door")]
        if let Some(endpoint) = std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|value| !value.is_empty()) {
            environment.entry("otlp-endpoint").or_insert(endpoint);
        }
        let file = match flags.get("config").or_else(|| environment.get("config")) {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path).map_err(|error| vec![format!("config: {path}: {error}")])?,
        };
        Self::from_sources(flags, &environment, &file)
    }

    /// The address that others reach the server by: the public one, or the one that is listened on.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        self.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", self.listen))
    }

    /// The settings from their three sources.
    pub fn from_sources(
        flags: &HashMap<&'static str, String>,
        environment: &HashMap<&'static str, String>,
        file: &str,
    ) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut file: File = toml::from_str(file).unwrap_or_else(|error| {
            // The error's own text quotes the line, which may hold a secret.
            mistakes.push(format!("settings file: not TOML: {}", error.message()));
            File::default()
        });
        let catalogue: ListFile<Permission> = list(&mut file, "permissions", &mut mistakes);
        let resource_types: ListFile<String> = list(&mut file, "resource-types", &mut mistakes);
        for name in file.settings.keys().filter(|name| SETTINGS.iter().all(|setting| setting.name != *name)) {
            mistakes.push(format!("settings file: there is no setting `{name}`"));
        }
        let mut sources = Sources { flags, environment, file: &file.settings, mistakes };
        if flags.get("database-url").is_some_and(|url| has_password(url)) {
            let told = "database-url: other users of this machine can read a flag: give a URL with a password as STEAD_DATABASE_URL";
            sources.mistakes.push(told.into());
        }
        let catalogue = Catalogue::new(catalogue.replace, catalogue.entries).unwrap_or_else(|error| {
            sources.mistakes.push(format!("settings file: {error}"));
            Catalogue::default()
        });
        let resource_types =
            ResourceTypes::new(resource_types.replace, resource_types.entries).unwrap_or_else(|error| {
                sources.mistakes.push(format!("settings file: {error}"));
                ResourceTypes::default()
            });
        let data_dir: PathBuf = sources.parse("data-dir", "a path", PathBuf::from("stead-data"));
        let config = Self {
            listen: sources.parse(
                "listen",
                "an address and a port, as in 127.0.0.1:8080",
                SocketAddr::from(([127, 0, 0, 1], 8080)),
            ),
            verify_listen: sources.read("verify-listen", place),
            max_connections: usize::try_from(sources.count("max-connections", 4096, 16..=1_000_000)).unwrap_or(4096),
            database: sources
                .read("database-url", database)
                .unwrap_or_else(|| Location::Sqlite { file: data_dir.join("stead.db"), durable: true }),
            log_json: sources.read("log-format", log_format).unwrap_or(false),
            metrics: sources.read("metrics", shown).unwrap_or(Shown::Private),
            collector: collector(&mut sources),
            public_url: sources.read("public-url", public_url),
            mail: mail(&mut sources),
            tls: tls(&mut sources),
            admin_email: sources.read("admin-email", email).unwrap_or_else(|| "owner@localhost".into()),
            format: sources
                .read("key-prefix", |text| Format::new(text).ok_or("must be 1–10 of a-z and 0-9".into()))
                .unwrap_or_default(),
            admin_api_key: None,
            operator_api_key: None,
            peppers: sources.read("pepper", |text| peppers(text, ',')),
            limits: Limits {
                max_staleness: sources.count("max-staleness", 60, 1..=3600).unsigned_abs(),
                seats: sources.count("seats", 10, 1..=1_000_000),
                billing: (
                    sources.count("billing-day", 1, 1..=31),
                    sources.read("billing-zone", zone).unwrap_or_else(|| "UTC".into()),
                ),
                accounts: usize::try_from(sources.count("max-accounts", 20, 1..=100_000)).unwrap_or(20),
                keys_per_account: usize::try_from(sources.count("max-keys-per-account", 1000, 1..=1_000_000))
                    .unwrap_or(1000),
            },
            proxies: proxies(&mut sources, &catalogue),
            webhook_allow: sources.read("webhook-allow", Allowed::parse).unwrap_or_default(),
            catalogue,
            resource_types,
            data_dir,
        };
        let admin_api_key = sources.read("admin-api-key", |text| admin_api_key(&config.format, text));
        let operator_api_key = sources.read("operator-api-key", |text| operator_api_key(&config.format, text));
        let is_same = |(admin, operator): (&Secret, &Secret)| admin.expose() == operator.expose();
        if admin_api_key.as_ref().zip(operator_api_key.as_ref()).is_some_and(is_same) {
            sources
                .mistakes
                .push("operator-api-key: is the admin-api-key: the one must not open what the other does".into());
        }
        if sources.mistakes.is_empty() {
            Ok(Self { admin_api_key, operator_api_key, ..config })
        } else {
            Err(sources.mistakes)
        }
    }
}

struct Sources<'a> {
    flags: &'a HashMap<&'static str, String>,
    environment: &'a HashMap<&'static str, String>,
    file: &'a BTreeMap<String, toml::Value>,
    mistakes: Vec<String>,
}

impl Sources<'_> {
    fn text(&self, name: &str) -> Option<String> {
        let from_file = || {
            self.file.get(name).map(|value| match value {
                toml::Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        };
        self.flags.get(name).or_else(|| self.environment.get(name)).cloned().or_else(from_file)
    }

    /// The setting, read by `read`, whose error says what it must be and never quotes it.
    fn read<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match read(&self.text(name)?) {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistakes.push(format!("{name}: {error}"));
                None
            }
        }
    }

    fn parse<T: FromStr>(&mut self, name: &str, what: &str, default: T) -> T {
        self.read(name, |text| text.parse().map_err(|_| format!("must be {what}"))).unwrap_or(default)
    }

    fn count(&mut self, name: &str, default: i64, range: std::ops::RangeInclusive<i64>) -> i64 {
        let what = format!("must be a number from {} to {}", range.start(), range.end());
        self.read(name, |text| text.parse().ok().filter(|number| range.contains(number)).ok_or(what)).unwrap_or(default)
    }
}

fn zone(text: &str) -> Result<String, String> {
    match Billing::new(1, text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("must be the name of a time zone, as in Europe/Berlin".into()),
    }
}

fn place(text: &str) -> Result<Place, String> {
    match text.strip_prefix("unix:") {
        Some("") => Err("names no file".into()),
        Some(path) => Ok(Place::Unix(path.into())),
        None => text.parse().map(Place::Tcp).map_err(|_| "must be an address and a port, or unix:<path>".into()),
    }
}

fn database(text: &str) -> Result<Location, String> {
    if let Some(rest) = text.strip_prefix("sqlite:") {
        let (file, durable) = match rest.split_once('?') {
            None => (rest, true),
            Some((file, "synchronous=normal")) => (file, false),
            Some(_) => return Err("the only parameter of a sqlite URL is synchronous=normal, which loses data".into()),
        };
        return if file.is_empty() {
            Err("names no file".into())
        } else {
            Ok(Location::Sqlite { file: file.into(), durable })
        };
    }
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Err("must begin with sqlite: or postgres://".into());
    }
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let (ours, theirs): (Vec<_>, Vec<_>) =
        query.split('&').filter(|part| !part.is_empty()).partition(|part| part.starts_with("schema="));
    let schema = ours.first().map(|part| part["schema=".len()..].to_owned());
    let plain = |name: &String| {
        (1..=63).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if !schema.iter().all(plain) {
        return Err("schema must be 1–63 of a-z, 0-9 and _".into());
    }
    let url = if theirs.is_empty() { base.to_owned() } else { format!("{base}?{}", theirs.join("&")) };
    Ok(Location::Postgres { url, schema })
}

fn has_password(url: &str) -> bool {
    let authority = url.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':')) || url.contains("password=")
}

fn shown(text: &str) -> Result<Shown, String> {
    match text {
        "private" => Ok(Shown::Private),
        "public" => Ok(Shown::Public),
        "off" => Ok(Shown::Off),
        _ => Err("must be private, public or off".into()),
    }
}

fn collector(sources: &mut Sources<'_>) -> Option<Collector> {
    let denials = u8::try_from(sources.count("trace-denials", 1, 0..=100)).unwrap_or(1);
    let endpoint = sources.read("otlp-endpoint", |text| {
        let url: http::Uri = text.parse().map_err(|_| "must be a URL, as in http://127.0.0.1:4318")?;
        let fits = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some() && url.query().is_none();
        let told = "must be a URL, as in http://127.0.0.1:4318".to_owned();
        if fits { Ok(text.trim_end_matches('/').to_owned()) } else { Err(told) }
    });
    endpoint.map(|endpoint| Collector { traces: format!("{endpoint}/v1/traces"), denials })
}

fn log_format(text: &str) -> Result<bool, String> {
    match text {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err("must be text or json".into()),
    }
}

fn public_url(text: &str) -> Result<String, String> {
    let url: http::Uri = text.parse().map_err(|_| "must be a URL, as in https://keys.example.com")?;
    let fits = matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some() && url.query().is_none();
    if fits {
        Ok(text.trim_end_matches('/').to_owned())
    } else {
        Err("must be a URL, as in https://keys.example.com".into())
    }
}

/// An e-mail address, in lower case.
pub fn email(text: &str) -> Result<String, String> {
    let fits = text.len() <= 254
        && text.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    let plain = text.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if fits && plain { Ok(text.to_lowercase()) } else { Err("must be an e-mail address".into()) }
}

fn mail(sources: &mut Sources<'_>) -> Option<(Server, Mailbox)> {
    let (server, from) = (sources.read("smtp-url", Server::parse), sources.read("mail-from", smtp::sender));
    match (sources.text("smtp-url"), sources.text("mail-from")) {
        (Some(_), None) | (None, Some(_)) => {
            sources.mistakes.push("smtp-url, mail-from: the one needs the other".into());
            None
        }
        _ => server.zip(from),
    }
}

fn tls(sources: &mut Sources<'_>) -> Option<(PathBuf, PathBuf)> {
    match (sources.text("tls-cert"), sources.text("tls-key")) {
        (Some(cert), Some(key)) => Some((cert.into(), key.into())),
        (None, None) => None,
        _ => {
            sources.mistakes.push("tls-cert, tls-key: the one needs the other".into());
            None
        }
    }
}

fn proxies(sources: &mut Sources<'_>, catalogue: &Catalogue) -> Proxies {
    let trusted = sources.read("trusted-proxies", Trusted::parse).unwrap_or_default();
    let key_header = sources.read("forward-auth-header", key_header);
    let rules = sources.text("path-rules").map(|file| {
        let text = std::fs::read_to_string(&file).map_err(|error| vec![format!("{file}: {error}")]);
        text.and_then(|text| PathRules::parse(&text, catalogue))
    });
    let rules = rules.and_then(|rules| match rules {
        Ok(rules) => Some(rules),
        Err(mistakes) => {
            sources.mistakes.extend(mistakes.into_iter().map(|mistake| format!("path-rules: {mistake}")));
            None
        }
    });
    Proxies::new(trusted, key_header, rules)
}

fn key_header(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let taken = ["x-forwarded-", "x-original-", "x-stead-"].iter().any(|prefix| name.starts_with(prefix))
        || ["authorization", "connection", "cookie", "forwarded", "host", "x-real-ip"].contains(&&*name);
    if plain && !taken && (1..=64).contains(&name.len()) {
        Ok(name)
    } else {
        Err("must be the name of a header of its own, of letters, digits and -".into())
    }
}

/// Peppers as `<version>:<64 hex digits>`, apart by `separator`.
pub fn peppers(text: &str, separator: char) -> Result<Vec<(u8, [u8; 32])>, String> {
    let one = |entry: &str| {
        let (version, hex) = entry.trim().split_once(':')?;
        let mut bytes = [0; 32];
        let digits = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then_some(())?;
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some((version.parse().ok()?, bytes))
    };
    let entries = text.split(separator).filter(|entry| !entry.trim().is_empty());
    let all: Option<Vec<_>> = entries.map(one).collect();
    all.filter(|all| !all.is_empty()).ok_or_else(|| "must be <version>:<64 hex digits>, one or more".into())
}

fn admin_api_key(format: &Format, text: &str) -> Result<Secret, String> {
    match format.inspect(text) {
        Ok(Form::Foreign) if text.len() >= 32 => Ok(Secret::new(text)),
        Ok(Form::Native { .. }) => Ok(Secret::new(text)),
        Err(_) if text.starts_with(DEFAULT_PREFIX) => Err("begins like a Stead key but isn't one".into()),
        _ => Err(format!("must be 32–{MAX_LENGTH} printable ASCII characters without blanks")),
    }
}

/// The operator's credential. Never in the form of a key: it must be none.
pub fn operator_api_key(format: &Format, text: &str) -> Result<Secret, String> {
    let plain = (32..=MAX_LENGTH).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    match format.inspect(text) {
        Ok(Form::Native { .. }) => Err("is an API key; the operator's credential must be one of its own".into()),
        _ if plain => Ok(Secret::new(text)),
        _ => Err(format!("must be 32–{MAX_LENGTH} printable ASCII characters without blanks")),
    }
}

#[cfg(test)]
mod tests;
