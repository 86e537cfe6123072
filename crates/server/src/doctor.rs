//! Checks an installation: the files' modes, the engine's own integrity check, the seals of all rows that decisions
//! read, and every workspace's audit chain. Reads only, and works beside a running server.

use crate::config::Config;
use crate::error::Failure;
use crate::store::{Error, Location, Store, Tx};
use crate::{accounts, audit, data_dir, groups, invites, keys, members, resources, webhooks, workspaces};
use std::sync::Arc;
use stead_verify::pepper::Ring;

/// What was looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Report {
    /// One line for each thing that is as it should be.
    pub fine: Vec<String>,
    /// One line for each that isn't.
    pub wrong: Vec<String>,
}

impl Report {
    fn note(&mut self, what: &str, wrong: Vec<String>) {
        if wrong.is_empty() {
            self.fine.push(what.to_owned());
        }
        self.wrong.extend(wrong);
    }
}

/// Examines an installation.
pub async fn examine(config: &Config, ring: Ring) -> Result<Report, Failure> {
    let mut report = Report::default();
    if config.data_dir.exists() {
        let exposed = data_dir::exposed(&config.data_dir).map_err(|error| Error::Unavailable(error.to_string()))?;
        let wrong = exposed.iter().map(|path| format!("{}: other users of this machine may read it", path.display()));
        report.note("files: only their owner may read them", wrong.collect());
    }
    if let Location::Sqlite { file, durable } = &config.database {
        if !file.exists() {
            report.wrong.push(format!("{}: there is no database", file.display()));
            return Ok(report);
        }
        let wrong = (!durable)
            .then(|| "the database is opened with synchronous=normal: a power cut loses acknowledged changes".into());
        report.note("durability: every acknowledged change is flushed", wrong.into_iter().collect());
    }
    let store = Store::open_to_examine(&config.database)?;
    report.note("database: whole, by its own check", store.check().await?);
    let ring = Arc::new(ring);
    let looked = store.read(move |tx| look(tx, &ring)).await?;
    report.fine.extend(looked.fine);
    report.wrong.extend(looked.wrong);
    Ok(report)
}

fn look(tx: &mut Tx<'_>, ring: &Ring) -> Result<Report, Failure> {
    let mut report = Report::default();
    let broken = keys::broken_seals(tx, ring)?;
    let wrong = broken.iter().map(|id| format!("key {id}: its row was changed behind the server's back")).collect();
    report.note("keys: every row is as the server wrote it", wrong);
    let broken = members::broken_seals(tx, ring)?.into_iter().chain(accounts::broken_seals(tx, ring)?);
    let wrong = broken.map(|id| format!("member {id}: its row was changed behind the server's back"));
    report.note("members and service accounts: every row is as the server wrote it", wrong.collect());
    let broken = invites::broken_seals(tx, ring)?;
    let wrong = broken.iter().map(|id| format!("invite {id}: its row was changed behind the server's back")).collect();
    report.note("invites: every row is as the server wrote it", wrong);
    let broken = groups::broken_seals(tx, ring)?;
    let wrong = broken.iter().map(|id| format!("group {id}: its row was changed behind the server's back"));
    report.note("groups: every row is as the server wrote it", wrong.collect());
    let broken = resources::broken_seals(tx, ring)?;
    let wrong = broken
        .iter()
        .map(|id| format!("resource {id}: it, or what is shared of it, was changed behind the server's back"));
    report.note("resources: every row is as the server wrote it", wrong.collect());
    let broken = webhooks::broken_seals(tx, ring)?;
    let wrong = broken.iter().map(|id| format!("webhook {id}: its row was changed behind the server's back"));
    report.note("webhooks: every row is as the server wrote it", wrong.collect());
    for workspace in workspaces::all(tx)? {
        let wrong = if workspace.is_sealed(ring) {
            Vec::new()
        } else {
            vec![format!("workspace {}: its row was changed behind the server's back", workspace.id)]
        };
        report.note(&format!("workspace {}: its row is as the server wrote it", workspace.id), wrong);
        let what = format!("audit log of {}: {} rows, the chain is whole", workspace.id, workspace.audit_seq);
        report.note(&what, audit::verify(tx, ring, &workspace)?);
    }
    Ok(report)
}
