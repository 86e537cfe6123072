//! `stead why`: why a key was refused, or what would be decided about it.

use crate::print;
use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Command};
use std::fmt::Write as _;
use std::io::Read as _;
use stead_api::id::DecisionId;
use stead_api::resource::Role;
use stead_api::secret::Secret;
use stead_api::verify::{Decision, ResourceAsked, Simulate, VerifyApiKey};
use stead_client::Client;

const KEY: &str = "STEAD_API_KEY";
const BASE: &str = "STEAD_BASE_URL";

/// How the command is called.
pub(crate) fn command() -> Command {
    let option = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    Command::new("why")
        .about("Tell why a key was refused, check by check")
        .long_about(
            "Tell why a key was refused, check by check.\n\nA decision id (dec_…, from an answer or a refusal) tells what was decided \
             then; a key id (key_…) what would be decided now, which takes nothing; - reads a secret from standard \
             input and asks about it, which counts as one use.\n\nThe key to ask with comes from the variable STEAD_API_KEY.",
        )
        .arg(Arg::new("what").required(true).value_name("DECISION|KEY|-").allow_hyphen_values(true))
        .arg(option("permissions", "With a key id or -: what it is to be used for, apart by commas"))
        .arg(option("ip", "With a key id or -: where from"))
        .arg(option("cost", "With a key id: credits that would be charged"))
        .arg(option("concurrency", "With a key id: tts, dubbing or music"))
        .arg(option("resource", "With a key id or -: a resource, as <type>/<id>"))
        .arg(option("role", "The role that is needed on it [viewer]"))
        .arg(option("base-url", "The server [http://127.0.0.1:8080] (STEAD_BASE_URL)"))
}

/// Runs it.
pub(crate) async fn run(arguments: &ArgMatches) -> Result<()> {
    let text = |name: &str| arguments.get_one::<String>(name).cloned();
    #[allow(clippy::disallowed_methods, reason = "settings of a client, which the server knows nothing of")]
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let base = text("base-url").or_else(|| variable(BASE)).unwrap_or_else(|| "http://127.0.0.1:8080".into());
    let key = variable(KEY).with_context(|| format!("{KEY} is not set: it holds the key to ask with"))?;
    let client = Client::new(&base, Secret::new(key))?;
    let permissions = text("permissions").map(|list| list.split(',').map(|name| name.trim().to_owned()).collect());
    let resource = resource(text("resource").as_deref(), text("role").as_deref())?;
    let what = text("what").context("say what to explain")?;
    let (decision, when) = if what.starts_with(DecisionId::PREFIX) {
        let past = client.get_decision(&what.as_str().into()).await?;
        (past.decision, format!("decided at {} (seconds since the epoch)", past.decided_at))
    } else if what == "-" {
        let mut secret = String::new();
        std::io::stdin().read_to_string(&mut secret)?;
        let question = VerifyApiKey {
            api_key: Secret::new(secret.trim()),
            permissions,
            ip: text("ip"),
            cost: None,
            request_id: None,
            resource,
            concurrency: None,
            lease_seconds: None,
            explain: Some(true),
            at_least: None,
        };
        (client.verify_api_key(&question).await?, "decided now".into())
    } else if what.starts_with("key_") {
        let cost = text("cost").map(|cost| cost.parse().context("--cost: a whole number")).transpose()?;
        let question = Simulate { permissions, ip: text("ip"), cost, concurrency: text("concurrency"), resource };
        (client.simulate_api_key(&what.as_str().into(), &question).await?, "would be decided now".into())
    } else {
        bail!("that is neither a decision id (dec_…) nor a key id (key_…) nor -")
    };
    print(told(&decision, &when).trim_end())
}

/// The resource and the role that are asked about.
fn resource(resource: Option<&str>, role: Option<&str>) -> Result<Option<ResourceAsked>> {
    let role = role.map(|role| Role::parse(role).context("--role: viewer, commenter, editor or admin")).transpose()?;
    let Some(resource) = resource else { return Ok(None) };
    let (kind, id) = resource.split_once('/').context("--resource: <type>/<id>")?;
    Ok(Some(ResourceAsked { resource_type: kind.into(), resource_id: id.into(), role }))
}

/// The trail, one line a check.
fn told(decision: &Decision, when: &str) -> String {
    let code = serde_json::to_value(decision.code).unwrap_or_default();
    let mut text = format!("{}, {when}\n", code.as_str().unwrap_or("?"));
    let name = decision.key_name.as_deref();
    if let Some(id) = &decision.key_id {
        let owner = decision.service_account_name.as_deref().unwrap_or("?");
        let _ = writeln!(text, "  key {} ({id}) of {owner}", name.unwrap_or("?"));
    }
    for check in decision.checks.iter().flatten() {
        let verdict = if check.passed { "ok  " } else { "FAIL" };
        let _ = writeln!(text, "  {verdict}  {:<12} {}", check.check, check.reason);
    }
    if let Some(limit) = &decision.limit {
        let _ = writeln!(text, "  ask again in {} s", limit.retry_after);
    }
    text
}
