//! The decision without a server: from a presented secret to yes or no, in mirrors of 1,000 to 10,000,000 keys. Started
//! by `cargo xtask bench`, or with `cargo bench -p stead-verify --bench mirror [-- <keys>…]`. Prints rows of the table of
//! docs/benchmarks.md, with tabs between the columns.
//!
//! This program starts itself anew for each number of keys, so that memory is that of one mirror and nothing else.
//! All that it knows of the mirror stands in [`Mirror`].

#![allow(clippy::print_stdout, reason = "rows on standard output are what this program is for")]
#![allow(clippy::cast_precision_loss, reason = "figures are rounded to three digits anyway")]

use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::fs;
use std::hint::black_box;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use stead_api::id::{KeyId, LineageId, PrincipalId, WorkspaceId};
use stead_api::secret::{DEFAULT_PREFIX, Format};
use stead_api::time::Timestamp;
use stead_verify::decide::{Ask, decide};
use stead_verify::facts::{Fact, KeyFacts, PrincipalFacts, WorkspaceFacts};
use stead_verify::index::KeyIndex;
use stead_verify::limits::Standing;
use stead_verify::pepper::{Digest, Ring};
use stead_verify::period::Billing;

/// As in the server: what a key takes depends on the allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZES: [u64; 4] = [1_000, 100_000, 1_000_000, 10_000_000];
/// Questions of one measurement.
const QUESTIONS: u64 = 300_000;
/// Keys that are made before a turn of filling is timed.
const BATCH: u64 = 10_000;
/// As many as an account may have.
const KEYS_AN_ACCOUNT: u64 = 1000;
const ACCOUNTS_A_WORKSPACE: u64 = 20;
/// Memory to be had before a size is tried: more than a mirror has taken for a key, or ever should.
const ROOM_A_KEY: u64 = 1200;
/// A size that takes longer is given up.
const LONGEST: Duration = Duration::from_mins(5);
/// The argument of the process that measures one size.
const ONE: &str = "--one";
const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = arguments.iter().filter_map(|word| word.parse().ok()).collect();
    match (arguments.iter().any(|word| word == ONE), arguments.iter().any(|word| word == "--bench")) {
        (true, _) => measure(numbers[0]),
        (_, true) => all(if numbers.is_empty() { &SIZES } else { &numbers }),
        // `cargo test --all-targets` runs benchmarks too, and has no use for figures of a debug build.
        _ => println!("mirror: run with `cargo xtask bench`"),
    }
}

/// The mirror as a verification uses it, and nothing else of this crate.
struct Mirror {
    format: Format,
    ring: Ring,
    index: KeyIndex,
}

impl Mirror {
    fn empty() -> Self {
        Self {
            format: Format::new(DEFAULT_PREFIX).expect("the default prefix fits"),
            ring: Ring::new([(1, [7; 32])]).expect("one pepper makes a ring"),
            index: KeyIndex::default(),
        }
    }

    /// What the store would tell of the key with this number: its own facts, and those of its holders before the first
    /// key of theirs.
    fn facts(&self, number: u64, facts: &mut Vec<Fact>) {
        let account = number / KEYS_AN_ACCOUNT;
        let workspace_id = WorkspaceId::from_random(bytes(b'w', account / ACCOUNTS_A_WORKSPACE));
        let principal_id = PrincipalId::from_random(bytes(b'p', account));
        if number.is_multiple_of(KEYS_AN_ACCOUNT) {
            facts.push(Fact::Workspace(WorkspaceFacts {
                id: workspace_id.clone(),
                version: 1,
                disabled: false,
                billing: Billing::default(),
            }));
            facts.push(Fact::Principal(PrincipalFacts {
                id: principal_id.clone(),
                version: 1,
                disabled: false,
                is_admin: false,
                groups: Box::default(),
                cap: None,
            }));
        }
        facts.push(Fact::Key(Box::new(KeyFacts {
            id: KeyId::from_random(bytes(b'k', number)),
            version: 1,
            workspace_id,
            principal_id,
            lineage_id: LineageId::from_random(bytes(b'l', number)),
            digest: self.ring.digest(&self.secret(number)).1,
            foreign: false,
            revoked: false,
            disabled: false,
            expires_at: None,
            permissions: Some([3_u8, 5].into_iter().collect()),
            allowed_ips: Box::default(),
            character_limit: None,
            rate_limits: Box::default(),
            concurrency: [None; 3],
        })));
    }

    fn apply(&self, fact: Fact) {
        self.index.apply(fact);
    }

    fn secret(&self, number: u64) -> String {
        let mut state = Scattered(number ^ 0x5EC2_E700);
        self.format.mint("tag123", || state.next().to_le_bytes()[0]).expose().to_owned()
    }

    fn looks_right(&self, secret: &str) -> bool {
        self.format.inspect(secret).is_ok()
    }

    fn digest(&self, secret: &str) -> Digest {
        self.ring.digests(secret).next().expect("a ring is never empty")
    }

    fn look_up(&self, digest: &Digest) -> bool {
        self.index.find(digest).is_some()
    }

    /// From a digest to yes or no.
    fn decide(&self, digest: &Digest) -> bool {
        let ask = Ask { permissions: [3_u8].into_iter().collect(), ..Ask::default() };
        let record = self.index.find(digest);
        record.is_some_and(|record| {
            decide(&record, &Standing::default(), &ask, NOW) == stead_api::verify::DecisionCode::Valid
        })
    }
}

/// One size, in a process of its own. Prints names and values for [`all`].
fn measure(keys: u64) {
    let mirror = Mirror::empty();
    let before = resident();
    let mut filling = Duration::ZERO;
    let mut facts = Vec::new();
    // As the server does, which asks the store how many there are.
    mirror.index.reserve(usize::try_from(keys).expect("so many keys fit in memory"));
    for number in 0..keys {
        mirror.facts(number, &mut facts);
        if (number + 1).is_multiple_of(BATCH) || number + 1 == keys {
            let since = Instant::now();
            facts.drain(..).for_each(|fact| mirror.apply(fact));
            filling += since.elapsed();
        }
    }
    drop(facts);
    tell("bytes", (resident() - before) / keys as f64);
    tell("fill", filling.as_secs_f64());

    // Other keys in each measurement, or the second one would find them in the caches.
    let secrets = |seed: u64| -> Vec<String> {
        let mut state = Scattered(seed);
        (0..QUESTIONS).map(|_| mirror.secret(state.next() % keys)).collect()
    };
    let digests = |seed| -> Vec<Digest> { secrets(seed).iter().map(|secret| mirror.digest(secret)).collect() };
    let whole = times(&secrets(1), |secret| mirror.looks_right(secret) && mirror.decide(&mirror.digest(secret)));
    tell("median", whole[whole.len() / 2]);
    tell("p99", whole[whole.len() * 99 / 100]);
    let middle = |times: Vec<f64>| times[times.len() / 2];
    tell("inspect", middle(times(&secrets(2), |secret| mirror.looks_right(secret))));
    tell("sha256", middle(times(&secrets(2), |secret| Sha256::digest(secret)[0] < 255)));
    let keyed: Hmac<Sha256> = KeyInit::new_from_slice(&[7; 32]).expect("HMAC takes keys of any length");
    let mac = |hash: &Digest| {
        let mut mac = keyed.clone();
        mac.update(hash);
        mac.finalize().into_bytes()[0] < 255
    };
    tell("hmac", middle(times(&digests(2), mac)));
    tell("look-up", middle(times(&digests(3), |digest| mirror.look_up(digest))));
    // The same keys once more in small groups: what is left when the record is in the cache is the decision's own.
    let warm = digests(4);
    let group: Vec<_> = warm.chunks(8).flat_map(|few| [few, few].concat()).collect();
    let again = |times: Vec<f64>| middle(sorted(times.chunks(16).flat_map(|two| two[8..].to_vec()).collect()));
    let found = again(each_time(&group, |digest| mirror.look_up(digest)));
    tell("decide", (again(each_time(&group, |digest| mirror.decide(digest))) - found).max(0.0));
}

/// What each answer took in nanoseconds, sorted; every answer must be yes.
fn times<T: AsRef<[u8]>>(questions: &[T], answer: impl Fn(&T) -> bool) -> Vec<f64> {
    sorted(each_time(questions, answer))
}

/// In the order of the questions, less what the clock takes by itself.
fn each_time<T: AsRef<[u8]>>(questions: &[T], answer: impl Fn(&T) -> bool) -> Vec<f64> {
    let nanoseconds = |since: Instant| since.elapsed().as_nanos() as f64;
    let clock = sorted((0..10_000).map(|_| nanoseconds(Instant::now())).collect())[5_000];
    let mut yes = 0;
    let time = |question: &T| {
        // Read before the clock runs: a secret that has just come from the network is in the cache.
        black_box(question.as_ref().iter().fold(0, |mixed, byte| mixed ^ byte));
        let since = Instant::now();
        yes += usize::from(black_box(answer(black_box(question))));
        nanoseconds(since) - clock
    };
    let times = questions.iter().map(time).collect();
    // SHA-256 alone has no wrong answer, only one in 256 that this crude question takes for one.
    assert!(yes > questions.len() * 98 / 100, "only {yes} of {} were answered with yes", questions.len());
    times
}

fn sorted(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    times
}

/// All sizes, and their rows.
fn all(sizes: &[u64]) {
    let mut smallest: Option<f64> = None;
    for keys in sizes {
        let what = format!("Decision in process, {} keys: median", whole(*keys));
        let goal = match keys {
            1_000_000 => "< 500 ns, ≤ 1.5 × that at 1,000",
            10_000_000 => "≤ 1.5 × that at 1,000",
            _ => NONE,
        };
        match one(*keys) {
            Err(why) => row(&what, "not there", &why, NONE, goal),
            Ok(found) => {
                let value = |name: &str| found.get(name).copied().unwrap_or(f64::NAN);
                let first = *smallest.get_or_insert(value("median"));
                let ratio = format!("{:.2}", value("median") / first);
                let beside = format!("{first:.0} ns with the fewest keys");
                row(&what, &format!("{:.0} ns", value("median")), &beside, &ratio, goal);
                row("… p99", &format!("{:.0} ns", value("p99")), NONE, NONE, NONE);
                let names = ["inspect", "sha256", "hmac", "look-up", "decide"];
                let parts = names.map(|name| format!("{:.0}", value(name))).join(" / ");
                let what = "… inspect / SHA-256 / HMAC / look-up / decide alone";
                row(what, &format!("{parts} ns"), NONE, NONE, NONE);
                let goal = if *keys == 10_000_000 { "≤ 160" } else { NONE };
                row("… memory a key", &format!("{:.0} bytes", value("bytes")), NONE, NONE, goal);
                row("… filled in", &format!("{:.2} s", value("fill")), NONE, NONE, NONE);
            }
        }
    }
}

const NONE: &str = "–";

fn row(what: &str, stead: &str, beside: &str, ratio: &str, goal: &str) {
    println!("{}", [what, stead, beside, ratio, goal].join("\t"));
}

/// One size in a process of its own, or why not.
fn one(keys: u64) -> Result<HashMap<String, f64>, String> {
    let available = memory("/proc/meminfo", "MemAvailable:");
    if available < (keys * ROOM_A_KEY) as f64 {
        return Err(format!("{:.1} GiB of memory are too little", available / 1024.0 / 1024.0 / 1024.0));
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command.args([ONE, &keys.to_string()]).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let since = Instant::now();
    // What it prints fits into the pipe, so it never waits for us.
    let status = loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) => break status,
            None if since.elapsed() > LONGEST => {
                child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
                return Err(format!("it took longer than {} s", LONGEST.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    if !status.success() {
        return Err(format!("its process ended with {status}"));
    }
    let mut text = String::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut text).map_err(|error| error.to_string())?;
    }
    let pair = |line: &str| line.split_once('\t').and_then(|(name, value)| Some((name.into(), value.parse().ok()?)));
    Ok(text.lines().filter_map(pair).collect())
}

fn tell(name: &str, value: f64) {
    println!("{name}\t{value}");
}

fn resident() -> f64 {
    memory("/proc/self/status", "VmRSS:")
}

/// In bytes; the kernel tells kibibytes.
fn memory(file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse::<f64>().ok()).unwrap_or(f64::NAN) * 1024.0
}

fn whole(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", whole(number / 1000), number % 1000),
    }
}

/// The bytes of an id: scattered as random ones are, and the same each time.
fn bytes(kind: u8, number: u64) -> [u8; 16] {
    let mut state = Scattered(number ^ (u64::from(kind) << 56));
    u128::from(state.next()).wrapping_shl(64).wrapping_add(u128::from(state.next())).to_le_bytes()
}

/// SplitMix64: nobody has to guess these numbers.
struct Scattered(u64);

impl Scattered {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
