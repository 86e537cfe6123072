//! Everything there is to tell, gathered when it is asked for.

use super::text::Text;
use super::{CLASSES, CODES, Late, TIMED, Via, name, quick_route};
use crate::app::App;
use crate::http::Door;
use std::sync::atomic::{AtomicU64, Ordering};
use stead_api::error::ErrorCode;

/// The whole text.
pub fn scrape(app: &App) -> String {
    let mut text = Text::default();
    decisions(app, &mut text);
    requests(app, &mut text);
    connections(app, &mut text);
    state(app, &mut text);
    process(app, &mut text);
    text.finish()
}

fn decisions(app: &App, text: &mut Text) {
    let metrics = &app.metrics;
    let mut family = text.counter("stead_decisions_total", "Decisions about keys, by what asked for them.");
    for via in Via::ALL {
        for code in CODES {
            family.sample(&[("via", via.as_str()), ("code", name(code))], metrics.decisions(via, code));
        }
    }
    let help = format!("How long a decision took, of one in {TIMED}.");
    text.histogram("stead_decision_seconds", &help).buckets(&[], metrics.decision_time.read());
}

fn requests(app: &App, text: &mut Text) {
    let metrics = &app.metrics;
    let mut family = text.counter("stead_http_requests_total", "Requests by route and by the status of the answer.");
    for row in &metrics.requests {
        let via = Via::ALL.into_iter().find(|via| quick_route(*via) == Some(row.id));
        for (place, class) in CLASSES.into_iter().enumerate().filter(|(_, class)| *class != "3xx") {
            let quick = via.map_or(0, |via| metrics.quick.sum(via as usize * CLASSES.len() + place));
            let count = read(&row.classes[place]) + quick;
            family.sample(&[("route", row.id), ("method", row.method), ("status_class", class)], count);
        }
    }
    let mut family = text.histogram("stead_http_request_seconds", "How long management requests took.");
    for row in metrics.requests.iter().filter(|row| row.is_timed) {
        family.buckets(&[("route", row.id)], row.time.read());
    }
    let mut family =
        text.counter("stead_http_malformed_total", "Requests that were refused before they came to a route.");
    for (code, count) in ErrorCode::ALL.iter().zip(metrics.malformed.iter().map(read)).filter(|(_, count)| *count > 0) {
        family.sample(&[("code", code.as_str())], count);
    }
}

fn connections(app: &App, text: &mut Text) {
    let listeners = [Door::Public, Door::Verification].map(|door| {
        let name = match door {
            Door::Public => "public",
            Door::Verification => "verification",
        };
        (name, app.metrics.connections(door))
    });
    let mut family = text.gauge("stead_connections_open", "Connections that are open.");
    for (name, connections) in &listeners {
        let closed = read(&connections.closed);
        family.sample(&[("listener", name)], read(&connections.opened).saturating_sub(closed));
    }
    let mut family = text.counter("stead_connections_opened_total", "Connections that were let in.");
    for (name, connections) in &listeners {
        family.sample(&[("listener", name)], read(&connections.opened));
    }
    let mut family =
        text.counter("stead_connections_refused_total", "Connections turned away: their address had its share.");
    for (name, connections) in &listeners {
        family.sample(&[("listener", name)], read(&connections.refused));
    }
    let mut family = text.counter("stead_connections_late_total", "Connections that were closed by a deadline.");
    for (name, connections) in &listeners {
        for why in Late::ALL {
            family.sample(&[("listener", name), ("deadline", why.as_str())], read(&connections.late[why as usize]));
        }
    }
}

fn state(app: &App, text: &mut Text) {
    let stale = if app.store.is_shared() { app.progress.staleness(app.clock.elapsed()) } else { 0 };
    text.gauge("stead_ready", "1 once the mirror is filled.").sample(&[], u8::from(app.ready.load(Ordering::Acquire)));
    text.gauge("stead_mirror_keys", "Keys in the mirror, revoked ones included.").sample(&[], app.index.len());
    text.gauge("stead_mirror_stale_seconds", "For how long the mirror could not be confirmed.").sample(&[], stale);
    text.gauge("stead_mirror_revision", "Changes the mirror has taken in; what two nodes differ by, one is behind.")
        .sample(&[], app.progress.sum());
    let mut family = text.counter("stead_store_writes_total", "Transactions that write, by how they ended.");
    for (outcome, count) in ["committed", "aborted", "unknown"].into_iter().zip(app.store.outcomes()) {
        family.sample(&[("outcome", outcome)], count);
    }
    text.gauge("stead_store_broken", "1 once only a restart can mend the store.")
        .sample(&[], u8::from(*app.store.broken().borrow()));
    text.gauge("stead_unsaved_uses", "Keys whose last use the store has not been told.").sample(&[], app.unsaved.len());
    text.gauge("stead_credit_leases_open", "Lineages that hold credits on lease.").sample(&[], app.leases.open());
    let [done, failed] = app.metrics.exchanges.read();
    text.counter("stead_credit_exchanges_total", "Exchanges of credits with the store.")
        .sample(&[("outcome", "done")], done)
        .sample(&[("outcome", "failed")], failed);
    text.gauge("stead_decisions_kept", "Recent decisions that can be asked about.").sample(&[], app.decisions.len());
}

/// What the system knows of the process. Where there is no `/proc`, as on macOS, the lines are missing.
fn process(app: &App, text: &mut Text) {
    let started = std::time::Duration::from_micros(app.metrics.started.unsigned_abs());
    text.gauge("process_start_time_seconds", "When the process started.").sample(&[], started.as_secs_f64());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kibibytes) = resident(&status) {
        text.gauge("process_resident_memory_bytes", "Memory in use.").sample(&[], kibibytes * 1024);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        text.gauge("process_open_fds", "Open file descriptors.").sample(&[], open.count());
    }
    text.gauge("stead_build_info", "Which Stead this is.").sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
}

/// As in `VmRSS:     12345 kB`.
fn resident(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
