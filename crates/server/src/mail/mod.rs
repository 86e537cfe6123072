//! Mail: what is to be sent lies in an outbox, written in the transaction it tells of; a job sends it.
//!
//! A body may hold a link that opens something, so it is encrypted under the pepper, which is not in the database, and
//! bound to its recipient: a row whose address was changed behind the server's back is not sent to anybody. (Making the
//! link anew at sending would do for invites alone.) A mail is sent at least once: who crashes after sending sends it again.
//!
//! - [`mod@self`]: the outbox; [`smtp`]: the server that takes mails

mod queries;
pub mod smtp;

use crate::app::App;
use crate::error::Failure;
use crate::feed::mutation::Mutation;
use crate::seal;
use crate::store::{Error, Proof, Provable, Tx, Written};
use smtp::Unsent;
use std::sync::Arc;
use stead_api::id::MailId;
use stead_api::secret::Secret;
use stead_api::time::Timestamp;
use stead_verify::pepper::Ring;

/// How long a mail is tried.
const KEPT_SECONDS: i64 = 24 * 60 * 60;
/// After the first failure; then twice as long each time.
const AGAIN_SECONDS: i64 = 60;
/// Longest time between two tries.
const LONGEST_SECONDS: i64 = 60 * 60;
/// Most mails that one run sends.
const AT_ONCE: usize = 50;
const LABEL: &str = "mail";

/// A mail as stored.
#[derive(Clone, Debug)]
struct MailRow {
    workspace_id: String,
    id: String,
    recipient: String,
    subject: String,
    body: Vec<u8>,
    created_at: i64,
    attempts: i64,
    next_at: i64,
}

impl MailRow {
    /// What the body is bound to.
    fn envelope(&self) -> Vec<u8> {
        seal::bytes(&(&self.workspace_id, &self.id, &self.recipient, &self.subject))
    }

    fn open(&self, ring: &Ring) -> Option<Secret> {
        let envelope = self.envelope();
        let mut keys = ring.derived(LABEL, self.id.as_bytes());
        keys.find_map(|key| seal::unlock(&key, &envelope, &self.body)).map(|body| Secret::new(body.as_str()))
    }
}

/// Puts a mail into the outbox, if the server sends any. It goes out once the write is committed.
pub fn queue(m: &mut Mutation<'_, '_>, to: &str, subject: &str, body: &Secret) -> Result<(), Failure> {
    let id = MailId::from_random(m.app.entropy.id());
    queue_as(m, &id, to, subject, body)
}

/// The same under an id that is known, so that it can be withdrawn.
pub fn queue_as(m: &mut Mutation<'_, '_>, id: &MailId, to: &str, subject: &str, body: &Secret) -> Result<(), Failure> {
    if m.app.mailer.is_none() {
        return Ok(());
    }
    let mut row = MailRow {
        workspace_id: m.workspace.id.clone(),
        id: id.to_string(),
        recipient: to.to_owned(),
        subject: subject.to_owned(),
        body: Vec::new(),
        created_at: m.now.0,
        attempts: 0,
        next_at: m.now.0,
    };
    let key = m.app.ring.derive(LABEL, row.id.as_bytes());
    row.body = seal::lock(&key, m.app.entropy.bytes(), &row.envelope(), body.expose())?;
    Ok(queries::insert(m.tx, &row)?)
}

/// Takes a mail back, if it was not sent yet.
pub fn withdraw(m: &mut Mutation<'_, '_>, id: &MailId) -> Result<(), Failure> {
    Ok(queries::delete(m.tx, &m.workspace.id, id.as_str())?)
}

/// Sends what is due.
pub async fn send_due(app: &Arc<App>) -> Result<(), Failure> {
    send_while(app, || true).await
}

/// Sends what is due, as long as it may begin another one: a slow mail server must not keep the server from ending.
pub async fn send_while(app: &Arc<App>, may_go_on: impl Fn() -> bool) -> Result<(), Failure> {
    let Some(mailer) = &app.mailer else { return Ok(()) };
    for _ in 0..AT_ONCE {
        if !may_go_on() {
            return Ok(());
        }
        let now = app.clock.now();
        let Some(row) = app.store.read(move |tx| queries::due(tx, now)).await? else { return Ok(()) };
        if !claim(app, &row, now).await? {
            // Another node has it.
            continue;
        }
        let Some(body) = row.open(&app.ring) else {
            tracing::error!(mail = row.id, "the mail's row was changed behind the server's back; it is not sent");
            forget(app, row).await?;
            continue;
        };
        let mail = smtp::Mail { id: &row.id, to: &row.recipient, subject: &row.subject, body: body.expose(), at: now };
        match mailer.send(mail).await {
            Ok(()) => forget(app, row).await?,
            Err(Unsent::Never(why)) => {
                tracing::error!(mail = row.id, "a mail was refused for good, and is given up: {why}");
                forget(app, row).await?;
            }
            // It was put off when it was claimed.
            Err(Unsent::Refused(why)) => {
                tracing::warn!(
                    mail = row.id,
                    attempts = row.attempts + 1,
                    "a mail was refused, and is tried again: {why}"
                );
            }
            Err(Unsent::Unreachable(why)) => {
                tracing::warn!(
                    mail = row.id,
                    attempts = row.attempts + 1,
                    "no mail can be sent, and it is tried again: {why}"
                );
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Whether a mail is this node's to send.
struct Claimed(bool);

impl Provable for Claimed {
    fn proof(&self) -> Option<Proof> {
        None
    }
}

/// Takes a mail by putting it off for as long as the next try has to wait should this one fail, or never end.
async fn claim(app: &Arc<App>, row: &MailRow, now: Timestamp) -> Result<bool, Failure> {
    let row = row.clone();
    let doublings = u32::try_from(row.attempts).unwrap_or(0).min(16);
    let next = now.plus_seconds((AGAIN_SECONDS << doublings).min(LONGEST_SECONDS));
    let work = move |tx: &mut Tx<'_>| -> Result<_, Failure> { Ok(Claimed(queries::put_off(tx, &row, next)?)) };
    match app.store.write(work, |_| {}).await {
        Written::Committed(Claimed(claimed)) => Ok(claimed),
        Written::Aborted(failure) => Err(failure),
        Written::Unknown => Ok(false),
    }
}

async fn forget(app: &Arc<App>, row: MailRow) -> Result<(), Failure> {
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> { Ok(queries::delete(tx, &row.workspace_id, &row.id)?) };
    match app.store.write(work, |()| {}).await {
        Written::Aborted(failure) => Err(failure),
        Written::Committed(()) | Written::Unknown => Ok(()),
    }
}

/// Gives up on mails that could not be sent for a day.
pub fn forget_old(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), Error> {
    for id in queries::forget_before(tx, now.plus_seconds(-KEPT_SECONDS))? {
        tracing::error!(mail = id, "a mail could not be sent for a day, and is given up");
    }
    Ok(())
}
