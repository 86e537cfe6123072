//! `stead audit`: the log checked, or written out, from the store itself, with the server running or stopped.

use crate::{print, settings, told, with_settings};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Arg, ArgMatches, Command};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use stead_api::audit::AuditLogEntry;
use stead_server::audit::activities::Class;
use stead_server::audit::examine::{self, Checked, Heads, Scope};
use stead_server::audit::{Filter, csv};
use stead_server::clock::SystemEntropy;
use stead_server::data_dir;

/// Goes with a failure that says nothing of the log: it could not be read. The exit code is 2.
#[derive(Debug)]
pub(crate) struct CantTell;

impl std::fmt::Display for CantTell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("it is not known whether the audit log is whole")
    }
}

/// How the commands are called.
pub(crate) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let workspace = option("workspace", "ID", "Only this workspace's log");
    let head = option("head", "FILE", "Heads saved earlier: what was in the log then must still be there");
    let codes = "Exit code: 0 if the log is whole, 1 if it is not, 2 if that can't be told.";
    let verify = Command::new("verify")
        .about("Check that every entry of the audit log is there and as it was written")
        .after_help(format!(
            "{codes}\n\nA log that was cut together with its workspace's row, as by putting a backup back, shows only beside a head \
             that was saved elsewhere."
        ))
        .arg(workspace.clone())
        .arg(head.clone())
        .arg(option("save-head", "FILE", "Write the heads there, if the log is whole"));
    let export = Command::new("export")
        .about("Write the audit log out, oldest first, and check it on the way")
        .after_help(format!(
            "{codes}\n\nIn CSV a field that a spreadsheet would take for a formula, and one that begins with an apostrophe, gets an \
             apostrophe in front."
        ))
        .arg(workspace)
        .arg(head)
        .arg(
            option("format", "FORMAT", "jsonl: an entry of OCSF 1.6 a line; csv: a table")
                .value_parser(["jsonl", "csv"])
                .default_value("jsonl"),
        )
        .arg(option("from", "TIME", "Not written before: 2026-11-22, 2026-11-22T12:00:00Z or milliseconds"))
        .arg(option("to", "TIME", "Not written after, likewise; a day counts to its end"))
        .arg(option("actor", "ID", "Only what this member did, or `system`"))
        .arg(option("class", "NAME", "Only this class, as in \"Entity Management\""))
        .arg(option("activity", "NAME", "Only this activity, as in \"API Key Creation\""))
        .arg(option("output", "FILE", "Write to a new file, which only its owner may read [standard output]"));
    Command::new("audit")
        .about("Check the audit log, or write it out")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_settings(verify))
        .subcommand(with_settings(export))
}

/// Runs them.
pub(crate) async fn run(arguments: &ArgMatches) -> Result<()> {
    let (name, arguments) = arguments.subcommand().context("say what to do with the log")?;
    let checked = match name {
        "verify" => verify(arguments).await,
        _ => export(arguments).await,
    };
    let checked = checked.map_err(|error| error.context(CantTell))?;
    let broken = checked.iter().filter(|log| !log.problems.is_empty()).count();
    if broken > 0 {
        bail!("{broken} of {} audit logs are not as they were written", checked.len());
    }
    if let Some(file) = arguments.try_get_one::<String>("save-head").ok().flatten() {
        save(Path::new(file), checked).with_context(|| file.clone()).map_err(|error| error.context(CantTell))?;
    }
    Ok(())
}

async fn verify(arguments: &ArgMatches) -> Result<Vec<Checked>> {
    let config = settings(arguments)?;
    let ring = data_dir::ring(&config, &SystemEntropy, false).map_err(anyhow::Error::msg)?;
    let checked = examine::verify(&config, ring, scope(arguments)?).await.map_err(told)?;
    for log in &checked {
        if log.problems.is_empty() {
            print(&format!(
                "ok     audit log of {}: {} rows, whole; head {}",
                log.workspace, log.head.seq, log.head.hash
            ))?;
        }
        for problem in &log.problems {
            print(&format!("WRONG  {problem}"))?;
        }
    }
    Ok(checked)
}

async fn export(arguments: &ArgMatches) -> Result<Vec<Checked>> {
    let config = settings(arguments)?;
    let (scope, filter) = (scope(arguments)?, filter(arguments)?);
    let ring = data_dir::ring(&config, &SystemEntropy, false).map_err(anyhow::Error::msg)?;
    let is_csv = arguments.get_one::<String>("format").is_some_and(|format| format == "csv");
    let target: Box<dyn Write + Send> = match arguments.get_one::<String>("output") {
        None => Box::new(std::io::stdout()),
        Some(path) => {
            let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            Box::new(file.with_context(|| path.clone())?)
        }
    };
    let out = Arc::new(Mutex::new(BufWriter::new(target)));
    if is_csv {
        csv::header(&mut *out.lock().unwrap_or_else(PoisonError::into_inner))?;
    }
    let lines = out.clone();
    let take = move |entry: &AuditLogEntry| {
        let mut out = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let written = if is_csv { csv::line(&mut *out, entry) } else { json_line(&mut *out, entry) };
        written.map_err(|error| format!("the output: {error}"))
    };
    let checked = examine::export(&config, ring, scope, filter, take).await.map_err(told)?;
    out.lock().unwrap_or_else(PoisonError::into_inner).flush().context("the output")?;
    // Standard output is the export's.
    for problem in checked.iter().flat_map(|log| &log.problems) {
        eprintln!("WRONG  {problem}");
    }
    Ok(checked)
}

fn json_line(out: &mut impl Write, entry: &AuditLogEntry) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, entry)?;
    out.write_all(b"\n")
}

fn scope(arguments: &ArgMatches) -> Result<Scope> {
    let workspace = arguments.get_one::<String>("workspace").map(|id| id.as_str().into());
    let saved = arguments.get_one::<String>("head").map(|path| read(Path::new(path)).with_context(|| path.clone()));
    Ok(Scope { workspace, saved: saved.transpose()? })
}

fn filter(arguments: &ArgMatches) -> Result<Filter> {
    let text = |name: &str| arguments.get_one::<String>(name);
    let instant = |name: &str, is_end| {
        let instant = text(name).map(|text| examine::instant(text, is_end));
        instant.transpose().map_err(|error| anyhow!("--{name}: {error}"))
    };
    let class = |name: &String| {
        let class = Class::ALL.into_iter().find(|class| class.name() == name);
        class.map(Class::uid).with_context(|| format!("--class: one of {}", Class::ALL.map(Class::name).join(", ")))
    };
    Ok(Filter {
        from: instant("from", false)?,
        to: instant("to", true)?,
        actor: text("actor").cloned(),
        class_uid: text("class").map(class).transpose()?,
        activity: text("activity").cloned(),
        before: None,
    })
}

fn read(path: &Path) -> Result<Heads> {
    Ok(serde_json::from_reader(std::io::BufReader::new(File::open(path)?))?)
}

/// Writes the heads beside the file and puts them in its place: at no time is half of them there.
fn save(path: &Path, checked: Vec<Checked>) -> Result<()> {
    let heads: Heads = checked.into_iter().map(|log| (log.workspace, log.head)).collect();
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    file.write_all(serde_json::to_string_pretty(&heads)?.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    Ok(std::fs::rename(&fresh, path)?)
}
