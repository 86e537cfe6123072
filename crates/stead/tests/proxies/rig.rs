//! What stands around a proxy in a test: a service behind it that writes down what it gets, a tap between it and Stead,
//! and a client that sends octets as they are.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Nginx,
    Caddy,
}

/// A proxy with its surroundings.
pub(super) struct Rig {
    proxy: Child,
    address: SocketAddr,
    tap: Arc<Tap>,
    service: Arc<Mutex<Vec<Request>>>,
    folder: tempfile::TempDir,
}

/// A request as the service got it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) target: Vec<u8>,
    pub(super) head: String,
    pub(super) body: String,
}

/// An answer as the client got it. 0: none.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: u16,
    head: String,
}

/// What goes from Stead to the proxy.
#[derive(Default)]
struct Tap {
    seen: Mutex<Vec<u8>>,
    instead: Mutex<Option<String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Request {
    /// The values of a header, in whatever spelling a service would take for it.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        values(&self.head, name)
    }
}

impl Said {
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        values(&self.head, name).first().copied()
    }
}

fn values<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let same = |given: &str| given.replace('_', "-").eq_ignore_ascii_case(name);
    lines.filter(|(given, _)| same(given)).map(|(_, value)| value.trim()).collect()
}

impl Rig {
    pub(super) fn start(kind: Kind, stead: &str) -> Self {
        let stead: SocketAddr = stead.trim_start_matches("http://").parse().expect("an address");
        let (service_at, service) = service();
        let (tap_at, tap) = tap(stead);
        let folder = tempfile::tempdir().expect("a folder");
        let address = free();
        let mut proxy = command(kind, folder.path(), address, tap_at, service_at);
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        proxy.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        let proxy = proxy.spawn().unwrap_or_else(|error| {
            panic!("{kind:?}: {error}: run `cargo xtask test`, which installs what is missing")
        });
        let rig = Self { proxy, address, tap, service, folder };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let log = fs::read_to_string(rig.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{kind:?} does not start:\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
        rig
    }

    /// Sends a request from the client's own address and reads the answer to its end.
    pub(super) async fn say(&self, method: &str, target: &str, key: &str, headers: &[(&str, &str)]) -> Said {
        self.say_with(method, target, key, headers, "").await
    }

    pub(super) async fn say_with(
        &self,
        method: &str,
        target: &str,
        key: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Said {
        let length = body.len().to_string();
        let mut lines = vec![("Host", "service.example"), ("Content-Length", &length)];
        if !headers.iter().any(|(name, _)| *name == "Connection") {
            lines.push(("Connection", "close"));
        }
        if !key.is_empty() {
            lines.push(("xi-api-key", key));
        }
        lines.extend(headers);
        let lines: String = lines.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
        self.send(format!("{method} {target} HTTP/1.1\r\n{lines}\r\n{body}").as_bytes()).await
    }

    /// Sends octets and reads an answer's head.
    pub(super) async fn send(&self, request: &[u8]) -> Said {
        let answer = tokio::time::timeout(PATIENCE, async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(super::CLIENT.parse().expect("an address"), 0))?;
            let mut stream = socket.connect(self.address).await?;
            stream.write_all(request).await?;
            let mut answer = Vec::new();
            let mut chunk = [0; 4096];
            while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut chunk).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => answer.extend_from_slice(&chunk[..read]),
                }
            }
            std::io::Result::Ok(answer)
        });
        let answer = answer.await.expect("an answer in time").unwrap_or_default();
        let head = String::from_utf8_lossy(&answer).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Said { status, head }
    }

    /// What the service has got since this was last asked.
    pub(super) fn served(&self) -> Vec<Request> {
        std::mem::take(&mut *lock(&self.service))
    }

    /// The paths that Stead has said yes to since this was last asked.
    pub(super) fn judged(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *lock(&self.tap.seen));
        let seen = String::from_utf8_lossy(&seen).into_owned();
        seen.lines().filter_map(|line| Some(line.strip_prefix("x-stead-path:")?.trim().to_owned())).collect()
    }

    /// Lets the tap answer in Stead's place.
    pub(super) fn answer_instead(&self, answer: Option<&str>) {
        *lock(&self.tap.instead) = answer.map(str::to_owned);
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.proxy.kill());
        drop(self.proxy.wait());
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("---- what the proxy printed ----\n{log}");
        }
    }
}

/// The published file with its three addresses changed, and nothing else of what it says about requests.
fn command(kind: Kind, folder: &std::path::Path, at: SocketAddr, stead: SocketAddr, service: SocketAddr) -> Command {
    let published = |name: &str, listen: (&str, String)| {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/proxies").join(name);
        let mut text = fs::read_to_string(file).expect("the published file");
        for (from, to) in
            [("127.0.0.1:8080", stead.to_string()), ("127.0.0.1:9000", service.to_string()), (listen.0, listen.1)]
        {
            assert_eq!(text.matches(from).count(), 1, "{from} in {name}");
            text = text.replace(from, &to);
        }
        text
    };
    let write = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, text).expect("written");
        file
    };
    match kind {
        Kind::Nginx => {
            let text = published("nginx.conf", ("127.0.0.1:8000", at.to_string()));
            // Where it may write, since it may not run as root here.
            let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map(|name| format!("{name}_temp_path {}/{name};\n", folder.display()));
            let text = text.replacen("http {", &format!("http {{\naccess_log off;\n{}", places.concat()), 1);
            let mut command = Command::new("nginx");
            let globals = format!("daemon off; master_process off; pid {}/pid;", folder.display());
            command
                .arg("-c")
                .arg(write("nginx.conf", &text))
                .arg("-p")
                .arg(folder)
                .args(["-e", "stderr", "-g", &globals]);
            // Debian keeps it where only administrators look.
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"));
            command
        }
        Kind::Caddy => {
            let text = published("Caddyfile", ("\n:8000 {", format!("\nhttp://:{} {{\n\tbind 127.0.0.1", at.port())));
            let mut command = Command::new("caddy");
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(write("Caddyfile", &text));
            command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
            command
        }
    }
}

/// A port that was free a moment ago.
fn free() -> SocketAddr {
    listen().local_addr().expect("an address")
}

fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")
}

/// Answers every request with 200, one a connection.
fn service() -> (SocketAddr, Arc<Mutex<Vec<Request>>>) {
    let listener = listen();
    let address = listener.local_addr().expect("an address");
    let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
    let kept = requests.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = kept.clone();
            thread::spawn(move || serve(stream, &kept));
        }
    });
    (address, requests)
}

fn serve(mut stream: TcpStream, kept: &Mutex<Vec<Request>>) {
    let (mut octets, mut chunk) = (Vec::new(), [0; 4096]);
    let mut more = |octets: &mut Vec<u8>| {
        let read = stream.read(&mut chunk).unwrap_or(0);
        octets.extend_from_slice(&chunk[..read]);
        read > 0
    };
    let end = loop {
        if let Some(end) = octets.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
        if !more(&mut octets) {
            return;
        }
    };
    let head = String::from_utf8_lossy(&octets[..end]).into_owned();
    let length = values(&head, "content-length").first().and_then(|length| length.parse().ok()).unwrap_or(0);
    while octets.len() < end + length && more(&mut octets) {}
    let line = octets.split(|octet| *octet == b'\r').next().unwrap_or_default();
    // Between the first blank and the last: a target may hold blanks here, whatever a proxy made of it.
    let first = line.iter().position(|octet| *octet == b' ').map_or(0, |at| at + 1);
    let last = line.iter().rposition(|octet| *octet == b' ').unwrap_or(line.len());
    let target = line.get(first..last).unwrap_or_default().to_vec();
    let body = String::from_utf8_lossy(&octets[end..]).into_owned();
    lock(kept).push(Request { target, head, body });
    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"));
}

/// Passes octets between the proxy and Stead, and keeps those of Stead.
fn tap(stead: SocketAddr) -> (SocketAddr, Arc<Tap>) {
    let listener = listen();
    let address = listener.local_addr().expect("an address");
    let tap = Arc::new(Tap::default());
    let kept = tap.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = kept.clone();
            thread::spawn(move || pass(stream, stead, &kept));
        }
    });
    (address, tap)
}

fn pass(mut proxy: TcpStream, stead: SocketAddr, tap: &Arc<Tap>) {
    // A connection for each request, so that what answers is chosen anew each time.
    let mut chunk = [0; 16 * 1024];
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match proxy.read(&mut chunk) {
            Ok(read @ 1..) => request.extend_from_slice(&chunk[..read]),
            _ => return,
        }
    }
    let instead = lock(&tap.instead).clone();
    let answer = match instead {
        Some(answer) => answer.into_bytes(),
        None => ask(stead, &request).unwrap_or_default(),
    };
    lock(&tap.seen).extend_from_slice(&answer);
    drop(proxy.write_all(&answer));
    drop(proxy.shutdown(Shutdown::Both));
}

fn ask(stead: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(stead)?;
    let line = request.windows(2).position(|end| end == b"\r\n").unwrap_or(0);
    stream.write_all(&request[..line])?;
    // Connection: close, so that the answer has an end. What the proxy says of its own connection stays.
    stream.write_all(b"\r\nConnection: close")?;
    stream.write_all(&request[line..])?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}
