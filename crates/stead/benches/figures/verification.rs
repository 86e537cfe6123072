//! Verifications a second over HTTP/1.1, beside the bare server, in turns.

use crate::bare;
use crate::machine::Cores;
use crate::process::{Launch, Log, Process};
use crate::report::{NONE, Report, median, spread, whole};
use crate::wire::{Line, post};
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CONNECTIONS: usize = 32;
const TURN: Duration = Duration::from_secs(2);
/// Before the first turn: connections, caches and the allocator's pages are there then.
const WARM_UP: Duration = Duration::from_millis(500);
/// From one question to the next, in the list of keys. Prime, and dividing no round number: each key's turn comes once
/// before any comes twice.
const STRIDE: usize = 61_837;

/// One turn of one server.
struct Turn {
    per_second: f64,
    cpu_micros: f64,
    /// Of its cores, from 0 to 1.
    busy: f64,
    p50: f64,
    p99: f64,
}

/// Pairs of turns. With `cores`, server and load have a half of them each; without, all is shared.
pub(crate) async fn pairs(
    launch: &Launch,
    log: Log,
    cores: Option<&Cores>,
    count: usize,
    secrets: &[String],
    report: &mut Report,
) -> Result<()> {
    let _apart = cores.map(Cores::keep_load_apart).transpose()?.flatten();
    let half = cores.and_then(Cores::of_the_server);
    let server = launch.start_on(half.as_deref(), log)?;
    let load = Load { questions: Arc::new(Questions::new(launch, secrets)), cores: cores_of(half.as_deref()) };
    let sample = load.sample(server.address).await?;
    let bare = bare::start(half.as_deref(), &sample)?;

    for process in [&server, &bare] {
        load.turn(process, WARM_UP).await?;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for pair in 0..count {
        // Whoever comes second may profit from the first, so they take turns at that, too.
        if pair % 2 == 0 {
            ours.push(load.turn(&server, TURN).await?);
            theirs.push(load.turn(&bare, TURN).await?);
        } else {
            theirs.push(load.turn(&bare, TURN).await?);
            ours.push(load.turn(&server, TURN).await?);
        }
    }
    let place = if half.is_some() { "on one half of the cores" } else { "shared cores" };
    tell(&format!("{place}, {}", log.name()), &ours, &theirs, report);
    Ok(())
}

fn cores_of(half: Option<&str>) -> usize {
    half.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |list| list.split(',').count())
}

fn tell(how: &str, ours: &[Turn], theirs: &[Turn], report: &mut Report) {
    let ratios = |of: fn(&Turn) -> f64| -> Vec<f64> {
        ours.iter().zip(theirs).map(|(ours, theirs)| of(ours) / of(theirs)).collect()
    };
    let middle = |turns: &[Turn], of: fn(&Turn) -> f64| median(turns.iter().map(of));
    let rate: fn(&Turn) -> f64 = |turn| turn.per_second;
    report.row(
        &format!("Verifications/s, {how} (beside it: bare hyper)"),
        whole(middle(ours, rate)),
        whole(middle(theirs, rate)),
        spread(&ratios(rate)),
        "≥ 0.90",
    );
    let cpu: fn(&Turn) -> f64 = |turn| turn.cpu_micros;
    report.row(
        "… processor time a request",
        format!("{:.1} µs", middle(ours, cpu)),
        format!("{:.1} µs", middle(theirs, cpu)),
        spread(&ratios(cpu)),
        NONE,
    );
    let latency =
        |turns: &[Turn]| format!("{:.0} / {:.0} µs", middle(turns, |turn| turn.p50), middle(turns, |turn| turn.p99));
    report.row("… latency p50 / p99 at that load", latency(ours), latency(theirs), NONE.into(), NONE);
    let busy = |turns: &[Turn]| format!("{:.0} %", 100.0 * middle(turns, |turn| turn.busy));
    report.row("… busy", busy(ours), busy(theirs), NONE.into(), NONE);
}

/// Every question as it goes over the wire: one request in whose end each connection writes the next secret.
struct Questions {
    request: Vec<u8>,
    /// Where the secret stands in it.
    at: usize,
    secrets: Vec<String>,
}

impl Questions {
    fn new(launch: &Launch, secrets: &[String]) -> Self {
        let body = format!(r#"{{"permissions":["text_to_speech"],"api_key":"{}"}}"#, secrets[0]);
        let request = post("/v1/api-keys/verify", &launch.admin_key, &body);
        let at = request.len() - r#""}"#.len() - secrets[0].len();
        Self { request, at, secrets: secrets.to_vec() }
    }

    fn write(&self, number: usize, request: &mut [u8]) {
        let secret = self.secrets[number.wrapping_mul(STRIDE) % self.secrets.len()].as_bytes();
        request[self.at..self.at + secret.len()].copy_from_slice(secret);
    }
}

struct Load {
    questions: Arc<Questions>,
    /// How many cores the server may use.
    cores: usize,
}

impl Load {
    /// An answer of Stead, for the bare server to give.
    async fn sample(&self, address: SocketAddr) -> Result<String> {
        let mut line = Line::open(address).await?;
        let answer = line.ask(&self.questions.request).await?;
        Ok(std::str::from_utf8(answer)?.to_owned())
    }

    async fn turn(&self, process: &Process, time: Duration) -> Result<Turn> {
        let mut lines = Vec::new();
        for _ in 0..CONNECTIONS {
            lines.push(Line::open(process.address).await?);
        }
        let (since, before) = (Instant::now(), process.cpu_micros()?);
        let mut tasks = JoinSet::new();
        let share = self.questions.secrets.len() / CONNECTIONS;
        for (number, line) in lines.into_iter().enumerate() {
            tasks.spawn(ask_on(line, self.questions.clone(), number * share, since + time));
        }
        let mut latencies = Vec::new();
        while let Some(told) = tasks.join_next().await {
            latencies.extend(told??);
        }
        let (took, cpu) = (since.elapsed(), process.cpu_micros()? - before);
        latencies.sort_unstable();
        let count = latencies.len() as f64;
        Ok(Turn {
            per_second: count / took.as_secs_f64(),
            cpu_micros: cpu / count,
            busy: cpu / 1e6 / took.as_secs_f64() / self.cores as f64,
            p50: at_percent(&latencies, 50)?,
            p99: at_percent(&latencies, 99)?,
        })
    }
}

/// Asks one question after the other; how long each took, in microseconds.
async fn ask_on(mut line: Line, questions: Arc<Questions>, first: usize, until: Instant) -> Result<Vec<u32>> {
    let mut request = questions.request.clone();
    let mut latencies = Vec::new();
    let mut now = Instant::now();
    for number in first.. {
        questions.write(number, &mut request);
        let answer = line.ask(&request).await?;
        ensure!(answer.starts_with(br#"{"valid":true"#), "not valid: {}", String::from_utf8_lossy(answer));
        let then = std::mem::replace(&mut now, Instant::now());
        latencies.push(u32::try_from((now - then).as_micros())?);
        if now >= until {
            break;
        }
    }
    Ok(latencies)
}

fn at_percent(sorted: &[u32], percent: usize) -> Result<f64> {
    sorted.get(sorted.len() * percent / 100).copied().map(f64::from).context("no question was answered")
}
