//! `stead workspaces`: the operator's commands, over HTTP, with a credential that opens nothing else.

use crate::print;
use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use serde::Serialize;
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use stead_api::id::WorkspaceId;
use stead_api::key::Change;
use stead_api::secret::{Format, Secret};
use stead_api::workspace::{CreateWorkspace, UpdateWorkspace, UpdateWorkspaceLimits, Workspace};
use stead_client::{Client, Error};
use stead_server::data_dir;

const CREDENTIAL: &str = "STEAD_OPERATOR_API_KEY";
const BASE: &str = "STEAD_BASE_URL";
const DATA_DIR: &str = "STEAD_DATA_DIR";

fn option(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    option(name, help).action(ArgAction::SetTrue)
}

/// How the command is called.
pub(crate) fn command() -> Command {
    let number = |name, help| option(name, help).value_parser(clap::value_parser!(i64));
    let id = || Arg::new("workspace").required(true).value_name("WORKSPACE").help("Its id (ws_…)");
    let settings = |command: Command| {
        command
            .arg(number("seats", "How many people it may have; one seat has no service accounts"))
            .arg(number("billing-day", "Day of the month on which its credits begin anew, 1–31"))
            .arg(option("billing-zone", "The zone of that day, as in Europe/Berlin"))
    };
    let update = Command::new("update")
        .about("Rename a workspace, suspend it or let it go on, change its seats, months and limits")
        .arg(id())
        .arg(option("name", "A new name"))
        .arg(flag("suspend", "Refuse every key of it from the next request on"))
        .arg(flag("resume", "Let its keys work again"))
        .group(ArgGroup::new("state").args(["suspend", "resume"]))
        .arg(option("max-accounts", "Service accounts it may have; `clear` for what the server's settings say"))
        .arg(option("max-keys-per-account", "Keys that one of its accounts may have; or `clear`"))
        .arg(flag("yes", "Don't ask before a workspace is suspended"));
    Command::new("workspaces")
        .about("Make, list and change workspaces, as the operator of the server")
        .long_about(
            "Make, list and change workspaces, as the operator of the server.\n\nThe credential comes from the variable \
             STEAD_OPERATOR_API_KEY, or from the file `operator-key` in the data directory.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(option("base-url", "The server [http://127.0.0.1:8080] (STEAD_BASE_URL)").global(true))
        .arg(option("data-dir", "Where the credential's file is [./stead-data] (STEAD_DATA_DIR)").global(true))
        .arg(option("output", "table or json").value_parser(["table", "json"]).default_value("table").global(true))
        .subcommand(Command::new("list").about("List all workspaces, the oldest first"))
        .subcommand(Command::new("get").about("Show one workspace").arg(id()))
        .subcommand(settings(
            Command::new("create")
                .about("Make a workspace and print the key of its owner, once")
                .arg(option("name", "What people call it").required(true))
                .arg(option("owner-email", "The e-mail of the person who will own it").required(true)),
        ))
        .subcommand(settings(update))
}

/// Runs it.
pub(crate) async fn run(arguments: &ArgMatches) -> Result<()> {
    let (name, arguments) = arguments.subcommand().context("a command is needed")?;
    let text = |name: &str| arguments.get_one::<String>(name).cloned();
    #[allow(clippy::disallowed_methods, reason = "settings of a client, which the server knows nothing of")]
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let base = text("base-url").or_else(|| variable(BASE)).unwrap_or_else(|| "http://127.0.0.1:8080".into());
    let directory = text("data-dir").or_else(|| variable(DATA_DIR)).unwrap_or_else(|| "stead-data".into());
    let from_file = || data_dir::operator_key(Path::new(&directory), &Format::default()).map_err(anyhow::Error::msg);
    let credential = variable(CREDENTIAL).map(Secret::new).map_or_else(from_file, Ok);
    let credential = credential.with_context(|| format!("{CREDENTIAL} is not set, and its file can't be read"))?;
    let client = Client::new(&base, credential)?;
    let is_json = text("output").as_deref() == Some("json");
    match name {
        "list" => {
            let all = all(&client).await?;
            if is_json { json(&all) } else { print(table(&all).trim_end()) }
        }
        "get" => show(is_json, &told(client.get_workspace(&workspace(arguments)?).await)?),
        "create" => create(&client, arguments, is_json).await,
        "update" => update(&client, arguments, is_json).await,
        other => bail!("there is no command `{other}`"),
    }
}

fn workspace(arguments: &ArgMatches) -> Result<WorkspaceId> {
    let text = arguments.get_one::<String>("workspace").context("say which workspace")?;
    // Anything else could name another path of the server.
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if plain && text.starts_with(WorkspaceId::PREFIX) {
        Ok(text.as_str().into())
    } else {
        bail!("that is no id of a workspace (ws_…)")
    }
}

/// Every mistake of the input by its field; everything else in its own words.
fn told<T>(answer: Result<T, Error>) -> Result<T> {
    answer.map_err(|error| match error {
        Error::Invalid(mistakes) => {
            let field = |mistake: &stead_api::error::FieldError| {
                let place: Vec<_> = mistake.loc.iter().skip(1).map(|part| part.to_string().replace('"', "")).collect();
                format!("{}: {}", place.join("."), mistake.msg)
            };
            anyhow::anyhow!("{}", mistakes.iter().map(field).collect::<Vec<_>>().join("\n  "))
        }
        other => other.into(),
    })
}

async fn all(client: &Client) -> Result<Vec<Workspace>> {
    let (mut all, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let query: Vec<_> = cursor.iter().map(|cursor| ("cursor", cursor.as_str())).collect();
        let page = told(client.list_workspaces(&query).await)?;
        all.extend(page.workspaces);
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

async fn create(client: &Client, arguments: &ArgMatches, is_json: bool) -> Result<()> {
    let text = |name: &str| arguments.get_one::<String>(name).cloned();
    let new = CreateWorkspace {
        name: text("name").unwrap_or_default(),
        owner_email: text("owner-email").unwrap_or_default(),
        seats: arguments.get_one("seats").copied(),
        billing_day: arguments.get_one("billing-day").copied(),
        billing_zone: text("billing-zone"),
    };
    let made = told(client.create_workspace(&new).await)?;
    if is_json {
        return json(&made);
    }
    show(false, &made.workspace)?;
    let owner = made.workspace.owner_email.as_deref().unwrap_or("the owner");
    print(&format!("\nThe key of {owner}, shown this once:\n\n    {}", made.api_key.expose()))
}

async fn update(client: &Client, arguments: &ArgMatches, is_json: bool) -> Result<()> {
    let text = |name: &str| arguments.get_one::<String>(name).cloned();
    let limit = |name: &str| -> Result<Option<Change<i64>>> {
        match text(name).as_deref() {
            None => Ok(None),
            Some("clear") => Ok(Some(Change::Clear)),
            Some(number) => {
                let number = number.parse().with_context(|| format!("--{name}: a whole number, or `clear`"))?;
                Ok(Some(Change::Set(number)))
            }
        }
    };
    let limits = UpdateWorkspaceLimits {
        service_accounts: limit("max-accounts")?,
        api_keys_per_account: limit("max-keys-per-account")?,
    };
    let (suspends, resumes) = (arguments.get_flag("suspend"), arguments.get_flag("resume"));
    let change = UpdateWorkspace {
        name: text("name"),
        is_disabled: (suspends || resumes).then_some(suspends),
        seats: arguments.get_one("seats").copied(),
        billing_day: arguments.get_one("billing-day").copied(),
        billing_zone: text("billing-zone"),
        limits: Some(limits),
    };
    let id = workspace(arguments)?;
    if suspends && !arguments.get_flag("yes") {
        confirm(&told(client.get_workspace(&id).await)?)?;
    }
    show(is_json, &told(client.update_workspace(&id, &change).await)?)
}

fn confirm(workspace: &Workspace) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("this refuses every key of the workspace: say --yes");
    }
    eprint!("Every key of {} ({}) will be refused. Suspend it? [y/N] ", workspace.name, workspace.workspace_id);
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { bail!("nothing was changed") }
}

fn json(value: &impl Serialize) -> Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

fn show(is_json: bool, workspace: &Workspace) -> Result<()> {
    if is_json {
        return json(workspace);
    }
    let limit = |limit: Option<i64>| limit.map_or("as the server's settings say".into(), |limit| limit.to_string());
    let lines = [
        ("workspace", workspace.workspace_id.to_string()),
        ("name", workspace.name.clone()),
        ("state", state(workspace).into()),
        ("owner", workspace.owner_email.clone().unwrap_or_default()),
        ("seats", format!("{} of {} used", workspace.seats_used, workspace.seats)),
        ("billing", format!("day {}, {}", workspace.billing_day, workspace.billing_zone)),
        ("accounts", limit(workspace.limits.service_accounts)),
        ("keys each", limit(workspace.limits.api_keys_per_account)),
    ];
    let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name:<10} {value}")).collect();
    print(&lines.join("\n"))
}

const fn state(workspace: &Workspace) -> &'static str {
    if workspace.is_disabled { "suspended" } else { "active" }
}

fn table(workspaces: &[Workspace]) -> String {
    let mut text = format!("{:<25}  {:<9}  {:>9}  {:<24}  {}\n", "WORKSPACE", "STATE", "SEATS", "OWNER", "NAME");
    for workspace in workspaces {
        let seats = format!("{}/{}", workspace.seats_used, workspace.seats);
        let owner = workspace.owner_email.as_deref().unwrap_or("-");
        let line = format!(
            "{:<25}  {:<9}  {seats:>9}  {owner:<24}  {}\n",
            workspace.workspace_id.as_str(),
            state(workspace),
            workspace.name
        );
        text.push_str(&line);
    }
    text
}
