//! The load: kept-alive connections, each with one question under way.

use crate::contender::{Contender, Questions};
use crate::wire::Line;
use anyhow::{Context, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

pub(crate) const CONNECTIONS: usize = 32;

/// What one turn of one contender showed.
pub(crate) struct Turn {
    pub(crate) per_second: f64,
    /// Processor time of the server for one question.
    pub(crate) cpu_micros: f64,
    /// Processor time in the time of the turn: 1 is a whole core.
    pub(crate) cores_busy: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Asks as fast as the answers come, for a while.
pub(crate) async fn turn(contender: &Contender, time: Duration) -> Result<Turn> {
    let lines = open(contender).await?;
    let (since, before) = (Instant::now(), contender.tree.cpu_micros()?);
    let mut tasks = JoinSet::new();
    for (asker, line) in askers(contender, lines) {
        tasks.spawn(asker.one_by_one(line, since + time));
    }
    let (mut latencies, mut lines) = (Vec::new(), Vec::new());
    while let Some(told) = tasks.join_next().await {
        let (line, told) = told??;
        latencies.extend(told);
        // Kept until processor time is read: a PostgreSQL takes that of a connection along when it ends.
        lines.push(line);
    }
    let (took, cpu) = (since.elapsed(), contender.tree.cpu_micros()? - before);
    latencies.sort_unstable();
    let count = latencies.len() as f64;
    Ok(Turn {
        per_second: count / took.as_secs_f64(),
        cpu_micros: cpu / count,
        cores_busy: cpu / 1e6 / took.as_secs_f64(),
        p50: per_mille(&latencies, 500)?,
        p99: per_mille(&latencies, 990)?,
    })
}

/// Asks at a fixed rate for a while, whatever the answers do; how long each took from the instant when it was due, in
/// microseconds.
pub(crate) async fn at_rate(contender: &Contender, rate: f64, time: Duration) -> Result<Vec<u32>> {
    let lines = open(contender).await?;
    let each = (rate * time.as_secs_f64()) as usize / CONNECTIONS;
    let step = Duration::from_secs_f64(CONNECTIONS as f64 / rate);
    let since = Instant::now();
    let mut tasks = JoinSet::new();
    for (place, (asker, line)) in askers(contender, lines).enumerate() {
        // One connection's questions fall between those of the others.
        let first = since + step.mul_f64(place as f64 / CONNECTIONS as f64);
        tasks.spawn(asker.on_schedule(line, first, step, each));
    }
    let mut latencies = Vec::new();
    while let Some(told) = tasks.join_next().await {
        latencies.extend(told??);
    }
    Ok(latencies)
}

/// Of sorted values, the one below which so many thousandths are.
pub(crate) fn per_mille(sorted: &[u32], thousandths: usize) -> Result<f64> {
    sorted.get(sorted.len() * thousandths / 1000).copied().map(f64::from).context("no question was answered")
}

async fn open(contender: &Contender) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for _ in 0..CONNECTIONS {
        lines.push(contender.line().await?);
    }
    Ok(lines)
}

/// Each begins elsewhere in the list of keys.
fn askers(contender: &Contender, lines: Vec<Line>) -> impl Iterator<Item = (Asker, Line)> {
    let share = contender.questions.count() / CONNECTIONS;
    lines.into_iter().enumerate().map(move |(number, line)| {
        let questions = contender.questions.clone();
        let request = questions.request();
        (Asker { questions, request, next: number * share, place: 0 }, line)
    })
}

/// What one connection needs to ask.
struct Asker {
    questions: Arc<Questions>,
    request: Vec<u8>,
    next: usize,
    place: usize,
}

impl Asker {
    async fn ask(&mut self, line: &mut Line) -> Result<()> {
        let key = self.questions.write(self.next, &mut self.request);
        self.next += 1;
        let answer = line.ask(&self.request).await?;
        self.questions.check(key, answer, &mut self.place)
    }

    async fn one_by_one(mut self, mut line: Line, until: Instant) -> Result<(Line, Vec<u32>)> {
        let mut latencies = Vec::new();
        let mut now = Instant::now();
        while now < until {
            self.ask(&mut line).await?;
            let then = std::mem::replace(&mut now, Instant::now());
            latencies.push(micros(now - then)?);
        }
        Ok((line, latencies))
    }

    async fn on_schedule(mut self, mut line: Line, first: Instant, step: Duration, count: usize) -> Result<Vec<u32>> {
        let mut latencies = Vec::with_capacity(count);
        let mut due = first;
        for _ in 0..count {
            // Not asleep: the runtime's timer counts whole milliseconds, and this core has nothing else to do.
            while Instant::now() < due {
                tokio::task::yield_now().await;
            }
            self.ask(&mut line).await?;
            latencies.push(micros(due.elapsed())?);
            due += step;
        }
        Ok(latencies)
    }
}

fn micros(time: Duration) -> Result<u32> {
    Ok(u32::try_from(time.as_micros())?)
}
