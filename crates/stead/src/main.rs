//! The one executable: `stead serve` and the commands around it.

mod audit;
mod serve;
mod why;
mod workspaces;

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgMatches, Command};
use std::collections::HashMap;
use std::process::ExitCode;
use stead_api::id::WorkspaceId;
use stead_server::app;
use stead_server::clock::{SystemClock, SystemEntropy};
use stead_server::config::{Config, SETTINGS};
use stead_server::error::Failure;
use stead_server::{data_dir, doctor, http};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One sentence with its causes, whatever RUST_BACKTRACE says: the reader runs a service, not a debugger.
            eprintln!("stead: {error:#}");
            ExitCode::from(if error.is::<audit::CantTell>() { 2 } else { 1 })
        }
    }
}

fn run() -> Result<()> {
    let matches = commands().get_matches();
    let (name, arguments) = matches.subcommand().context("a command is needed")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match name {
            "serve" => serve::serve(settings(arguments)?).await,
            "audit" => audit::run(arguments).await,
            "doctor" => examine(settings(arguments)?).await,
            "owner-key" => {
                let workspace = arguments.get_one::<String>("workspace").map(|id| id.as_str().into());
                owner_key(settings(arguments)?, workspace).await
            }
            "rotate-pepper" => rotate_pepper(&settings(arguments)?),
            "why" => why::run(arguments).await,
            "workspaces" => workspaces::run(arguments).await,
            "openapi" => print(&serde_json::to_string_pretty(&http::openapi::describe())?),
            other => bail!("there is no command `{other}`"),
        }
    })
}

fn commands() -> Command {
    Command::new("stead")
        .about("Service accounts and API keys that act in your stead")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_settings(Command::new("serve").about("Run the server")))
        .subcommand(with_settings(
            Command::new("doctor").about("Check an installation: files, database, seals, audit chain"),
        ))
        .subcommand(with_settings(
            Command::new("rotate-pepper").about("Add a new pepper, used from the next start on; keys stay as they are"),
        ))
        .subcommand(
            with_settings(
                Command::new("owner-key")
                    .about("Make a new key for the owner and print it; on SQLite while the server is stopped"),
            )
            .arg(Arg::new("workspace").long("workspace").help("Whose owner (ws_…) [the first workspace's]")),
        )
        .subcommand(audit::command())
        .subcommand(why::command())
        .subcommand(workspaces::command())
        .subcommand(Command::new("openapi").about("Print the OpenAPI description"))
}

/// A flag for each setting but the secret ones: arguments can be read by every user of the machine.
fn with_settings(command: Command) -> Command {
    SETTINGS.iter().filter(|setting| !setting.secret).fold(command, |command, setting| {
        let variable = setting.name.to_uppercase().replace('-', "_");
        command.arg(Arg::new(setting.name).long(setting.name).help(format!("{} (STEAD_{variable})", setting.help)))
    })
}

fn settings(arguments: &ArgMatches) -> Result<Config> {
    let flags: HashMap<_, _> = SETTINGS
        .iter()
        .filter(|setting| !setting.secret)
        .filter_map(|setting| Some((setting.name, arguments.get_one::<String>(setting.name)?.clone())))
        .collect();
    match Config::load(&flags) {
        Ok(config) => Ok(config),
        Err(mistakes) => bail!("the settings have mistakes:\n  {}", mistakes.join("\n  ")),
    }
}

async fn examine(config: Config) -> Result<()> {
    let ring = data_dir::ring(&config, &SystemEntropy, false).map_err(anyhow::Error::msg)?;
    let report = doctor::examine(&config, ring).await.map_err(told)?;
    for line in &report.fine {
        print(&format!("ok     {line}"))?;
    }
    for line in &report.wrong {
        print(&format!("WRONG  {line}"))?;
    }
    if !report.wrong.is_empty() {
        bail!("{} of the checks failed", report.wrong.len());
    }
    Ok(())
}

async fn owner_key(config: Config, workspace: Option<WorkspaceId>) -> Result<()> {
    data_dir::prepare(&config.data_dir).map_err(anyhow::Error::msg)?;
    let ring = data_dir::ring(&config, &SystemEntropy, false).map_err(anyhow::Error::msg)?;
    let built = app::build(&config, ring, Box::new(SystemClock::new()), Box::new(SystemEntropy)).await;
    let (app, first) = built.map_err(told)?;
    // On an empty database there was no owner to make a further key for: this was the first start.
    let secret = match first.and_then(|first| first.admin_api_key) {
        Some(secret) => secret,
        None => app::create_owner_key(&app, workspace).await.map_err(told)?,
    };
    print(secret.expose())
}

fn rotate_pepper(config: &Config) -> Result<()> {
    if config.peppers.is_some() {
        bail!("the peppers come from the environment: add one there, with the next version");
    }
    let version = data_dir::rotate_pepper(&config.data_dir, &SystemEntropy).map_err(anyhow::Error::msg)?;
    print(&format!("Pepper {version} is used from the next start on. Back the file up; older peppers stay in it."))
}

/// A failure in words for the operator.
fn told(failure: Failure) -> anyhow::Error {
    match failure {
        Failure::Store(error) => error.into(),
        Failure::Refused(refusal) => anyhow::Error::msg(refusal.message),
        other => anyhow::anyhow!("{other:?}"),
    }
}

/// A line on standard output. A reader that has gone away is no reason to fail.
fn print(line: &str) -> Result<()> {
    use std::io::{ErrorKind, Write};
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
