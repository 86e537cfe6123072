//! May this request pass? The one decision behind forward-auth and Envoy's ext_authz.
//!
//! The only way to a yes is an [`Admitted`], and [`admit`] is the only one who makes it, from a verdict that says
//! `VALID`. Everything else is a [`Failure`], which has no status below 400.

use super::path::{NormalPath, normalise};
use super::proxies::{Odd, Seen, Told, Trusted};
use super::refusal::{refusal, unknown_key};
use super::rules::{PathRules, is_method};
use super::{ATTEMPTS, Attempt, Manner, credits, freshness, too_many};
use crate::app::App;
use crate::error::Failure;
use crate::http::fields::MAX_NUMBER;
use crate::metrics::Via;
use crate::resources::is_resource_id;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use stead_api::error::ErrorCode;
use stead_api::resource::Role;
use stead_api::verify::DecisionCode;
use stead_verify::decide::Ask;
use stead_verify::index::{KeyRecord, ResourceKey};
use stead_verify::permissions::PermissionSet;

/// What the settings say about the proxies in front.
#[derive(Clone, Default)]
pub struct Proxies {
    /// Whose word is believed.
    pub trusted: Trusted,
    /// One more header that a key may come by, in small letters.
    pub key_header: Option<String>,
    /// What requests need by their method and path.
    pub rules: Option<Arc<PathRules>>,
    complaints: Arc<Mutex<HashSet<&'static str>>>,
    /// The last query of a proxy and what it asks for.
    last: Arc<RwLock<(String, Wanted)>>,
}

/// What the proxy's configuration asks for, whatever the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    permissions: PermissionSet,
    resource: Option<(ResourceKey, Role)>,
    cost: u64,
}

/// A request that waits at a proxy.
pub struct Visit<'a> {
    /// The key it carries.
    pub secret: &'a str,
    /// Where it comes from.
    pub seen: Seen,
    /// Its method and its path with query. `None`: not told, or by nobody who is believed.
    pub request: Option<(&'a [u8], &'a [u8])>,
    /// Whether a header would have the service take another method or path.
    pub overrides: bool,
    /// What the proxy's configuration asks for.
    pub wanted: Wanted,
    /// By which of the two ways it asks.
    pub via: Via,
}

/// A request that may pass.
pub struct Admitted {
    key: KeyRecord,
    path: Option<NormalPath>,
}

impl Admitted {
    /// The headers that tell the service who calls. Always all of them: one left out could be the client's own.
    pub fn identity(&self, app: &App) -> [(&'static str, String); 5] {
        let held = self.key.permissions;
        let permissions = held.map_or("all".into(), |held| held.names(&app.catalogue).join(","));
        [
            ("x-stead-workspace-id", app.index.workspace(&self.key).id.to_string()),
            ("x-stead-account-id", app.index.principal(&self.key).id.to_string()),
            ("x-stead-key-id", self.key.id().to_string()),
            ("x-stead-permissions", permissions),
            ("x-stead-path", self.path.as_ref().map(|path| path.as_str().to_owned()).unwrap_or_default()),
        ]
    }
}

impl Proxies {
    /// What the settings say.
    pub fn new(trusted: Trusted, key_header: Option<String>, rules: Option<PathRules>) -> Self {
        Self { trusted, key_header, rules: rules.map(Arc::new), complaints: Arc::default(), last: Arc::default() }
    }

    /// What a query asks for, if it is the last one that was read.
    pub(super) fn known(&self, query: &str) -> Option<Wanted> {
        let last = self.last.read().unwrap_or_else(PoisonError::into_inner);
        (last.0 == query).then_some(last.1)
    }

    /// Remembers what a query asks for.
    pub(super) fn know(&self, query: &str, wanted: Wanted) {
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = (query.to_owned(), wanted);
    }

    /// The headers a key may come by.
    fn key_headers(&self) -> [&str; 3] {
        ["xi-api-key", "authorization", self.key_header.as_deref().unwrap_or("xi-api-key")]
    }

    /// The one key that a request carries, behind the name of its header.
    fn credential<'a>(&self, headers: &[Header<'a>]) -> Result<Header<'a>, Failure> {
        let (mut found, mut authorizations) = (None, 0);
        for &(name, value) in headers {
            let is = |known: &str| name.eq_ignore_ascii_case(known);
            let mut keys = 1;
            let key = if is("authorization") {
                authorizations += 1;
                keys = authorizations;
                bearer(value)
            } else if is("xi-api-key") || self.key_header.as_deref().is_some_and(is) {
                Some(value)
            } else {
                None
            };
            if keys > 1 || (key.is_some() && found.is_some()) {
                let why = "More than one key, or more than one Authorization header, came.";
                return Err(Failure::refused(ErrorCode::InvalidAuthorizationHeader, why));
            }
            found = found.or(key.map(|key| (name, key)));
        }
        found.ok_or_else(|| {
            let why = "No API key came; send one in the header xi-api-key, or as Authorization: Bearer.";
            Failure::refused(ErrorCode::MissingApiKey, why)
        })
    }

    /// The refusal of a question that no proxy should ask. The operator hears of it once, the client nothing.
    fn misconfigured(&self, mistake: &'static str) -> Failure {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        if complaints.insert(mistake) {
            tracing::error!("a proxy asks what can't be answered, and the request is refused: {mistake}");
        }
        Failure::refused(
            ErrorCode::ProxyMisconfigured,
            "The proxy asks what can't be answered; the server's log says what.",
        )
    }
}

impl Wanted {
    /// Reads what a proxy's configuration asks for. Nothing is ignored: what isn't looked at would be taken for a yes.
    pub fn read(app: &App, parameters: impl Iterator<Item = (String, String)>) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        let mut seen = HashSet::new();
        let (mut resource, mut role) = (None, None);
        let mistake = |text: &'static str| Err(app.proxies.misconfigured(text));
        for (name, value) in parameters {
            match name.as_str() {
                "permissions" => {
                    for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                        let Some(place) = app.catalogue.place(name) else {
                            // Never the name itself: somebody may have put a key there.
                            return mistake("permissions: a name is not in the catalogue");
                        };
                        wanted.permissions.insert(place);
                    }
                }
                "cost" => match value.parse() {
                    Ok(cost) if cost <= MAX_NUMBER.unsigned_abs() => wanted.cost = cost,
                    _ => return mistake("cost: is no whole number"),
                },
                "resource" => match value.split_once('/') {
                    Some((kind, id)) if app.resource_types.has(kind) && is_resource_id(id) => {
                        resource = Some(ResourceKey::new(kind, id));
                    }
                    _ => return mistake("resource: is no <resource type>/<resource id>"),
                },
                "role" => match Role::parse(&value) {
                    Some(named) => role = Some(named),
                    None => return mistake("role: is none of viewer, commenter, editor, admin"),
                },
                _ => return mistake("there is a parameter other than permissions, resource, role and cost"),
            }
            if !seen.insert(name) {
                return mistake("a parameter is given twice");
            }
        }
        if resource.is_none() && role.is_some() {
            return mistake("role: there is no resource that it is about");
        }
        wanted.resource = resource.map(|resource| (resource, role.unwrap_or(Role::Viewer)));
        Ok(wanted)
    }
}

/// What came of an attempt to admit.
pub enum Attempted {
    /// It may pass.
    Admitted(Admitted),
    /// More credits have to be leased first, so many for this key.
    Short(Box<KeyRecord>, u64),
}

/// Decides about a request at a proxy. Fails with a refusal, or where the answer can't be known.
pub async fn admit(app: &Arc<App>, visit: &Visit<'_>) -> Result<Admitted, Failure> {
    for _ in 0..ATTEMPTS {
        match attempt(app, visit)? {
            Attempted::Admitted(admitted) => return Ok(admitted),
            Attempted::Short(key, cost) => credits::lease(app, &key, cost).await?,
        }
    }
    Err(too_many())
}

/// The same as far as it goes without waiting.
pub fn attempt(app: &App, visit: &Visit<'_>) -> Result<Attempted, Failure> {
    freshness(app)?;
    let needs = needs(app, visit);
    // Without a rule the key is judged all the same: only its holder may hear which paths there are.
    let wanted = needs.as_ref().map_or_else(|_| Wanted::default(), |(wanted, _)| *wanted);
    let Seen { ip, hop } = visit.seen;
    let Wanted { permissions, resource, cost } = wanted;
    let ask = Ask { permissions, resource, ip, hop, cost, concurrency: None };
    // What no rule fits is refused whatever the key says: nothing is taken for it, nor counted as a yes.
    let manner = Manner { via: visit.via, is_rehearsal: needs.is_err(), ..Manner::default() };
    let verdict = match super::attempt(app, visit.secret, &ask, manner)? {
        Attempt::Decided(verdict) => verdict,
        Attempt::Short(key) => return Ok(Attempted::Short(key, ask.cost)),
    };
    match (verdict.code, &verdict.key) {
        (DecisionCode::Valid, Some(key)) => {
            let key = key.clone();
            needs.map(|(_, path)| Attempted::Admitted(Admitted { key, path }))
        }
        _ => Err(refusal(app, &verdict)),
    }
}

/// What a request needs by the rules and by the proxy's configuration, and the path that was judged.
fn needs(app: &App, visit: &Visit<'_>) -> Result<(Wanted, Option<NormalPath>), Failure> {
    let Some(rules) = &app.proxies.rules else { return Ok((visit.wanted, None)) };
    let refuse = |code, message: String| Err(Failure::refused(code, message));
    let Some((method, target)) = visit.request else {
        let why = "The method and the path are not known: the peer is not among trusted-proxies, or doesn't tell them.";
        return refuse(ErrorCode::PathNotAllowed, why.into());
    };
    if visit.overrides {
        return Err(odd(Odd::Override));
    }
    let path = match normalise(target) {
        Ok(path) => path,
        Err(why) => return refuse(ErrorCode::AmbiguousPath, format!("The path has more than one reading: {why}.")),
    };
    let Some(method) = str::from_utf8(method).ok().filter(|method| is_method(method)) else {
        return refuse(ErrorCode::AmbiguousPath, "The method is not in capital letters.".into());
    };
    let Some(rule) = rules.find(method, &path) else {
        return refuse(ErrorCode::PathNotAllowed, "No path rule fits this method and path.".into());
    };
    let permissions = rule.permissions.union(visit.wanted.permissions);
    let cost = rule.cost.saturating_add(visit.wanted.cost);
    Ok((Wanted { permissions, resource: visit.wanted.resource, cost }, Some(path)))
}

/// The refusal of headers that could be somebody else's word.
pub fn odd(why: Odd) -> Failure {
    Failure::refused(ErrorCode::AmbiguousHeaders, format!("The request's headers can't be believed: {why}."))
}

/// A header's name and value.
type Header<'a> = (&'a str, &'a [u8]);

/// What a request's headers say.
pub struct Presented<'a> {
    /// The header that the key came by.
    pub key_header: &'a str,
    /// The key.
    pub secret: &'a str,
    /// What a proxy says about the request.
    pub told: Told<'a>,
}

impl<'a> Presented<'a> {
    /// Reads all headers of a request.
    pub fn read(front: &Proxies, headers: impl Iterator<Item = Header<'a>>) -> Result<Self, Failure> {
        let headers: Vec<_> = headers.collect();
        let (key_header, key) = front.credential(&headers)?;
        let told = Told::read(headers.into_iter(), &front.key_headers()).map_err(odd)?;
        let secret = str::from_utf8(key).map_err(|_| unknown_key())?;
        Ok(Self { key_header, secret, told })
    }
}

/// The key of `Bearer <key>`; another scheme is the service's own matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (scheme, key) = value.split_at(end);
    scheme.eq_ignore_ascii_case(b"bearer").then(|| key.trim_ascii())
}
