//! The first five minutes, as a stranger has them: no settings at all, then the lines that the server prints, pasted.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// A server whose output is read line by line; ended when it is dropped.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    url: String,
}

fn stead(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stead"));
    command.args(arguments).current_dir(directory).env_clear().env("PATH", std::env::var("PATH").unwrap_or_default());
    command
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        lines.read_line(&mut ready).unwrap();
        let url =
            ready.strip_prefix("Stead is ready at ").unwrap_or_else(|| panic!("not ready: {ready}")).trim().to_owned();
        Self { child, lines, url }
    }

    /// Ends it as a service manager does, and returns what more it printed.
    fn stop(mut self) -> String {
        // The shell's own: not every machine has a program of that name.
        let told = Command::new("bash").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status().unwrap();
        assert!(told.success() && self.child.wait().unwrap().success());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).unwrap();
        rest.trim().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, or to be ended: either is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn bash(directory: &Path, script: &str) -> Output {
    Command::new("bash").arg("-euc").arg(script).current_dir(directory).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_lines_that_the_first_start_prints_work_when_pasted() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Running::start(stead(directory.path(), &["serve", "--listen", "127.0.0.1:0"]));
    // The welcome ends with the last of the lines to paste.
    let mut welcome = String::new();
    while !welcome.contains("call DELETE") || !welcome.trim_end().ends_with("'{\"api_key\":\"'$SECRET'\"}'") {
        assert_ne!(server.lines.read_line(&mut welcome).unwrap(), 0, "the welcome is cut: {welcome}");
    }
    let (_, paste) = welcome.split_once("paste this:").unwrap();
    let shown = text(&bash(directory.path(), paste));
    for wanted in [
        r#""code":"VALID""#,
        r#""code":"INSUFFICIENT_PERMISSIONS""#,
        r#""missing_permissions":["voices_write"]"#,
        r#""rotated_from":"key_"#,
        r#"{"status":"ok"}"#,
        r#""code":"REVOKED""#,
    ] {
        assert!(shown.contains(wanted), "no {wanted} in {shown}");
    }
    let data = directory.path().join("stead-data");
    assert_eq!(mode(&data), 0o700);
    for file in fs::read_dir(&data).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    assert_eq!(server.stop(), "");

    // Every later start is silent, and finds everything as it was.
    let again = Running::start(stead(directory.path(), &["serve", "--listen", "127.0.0.1:0"]));
    assert_eq!(again.stop(), "");
    let examined = stead(directory.path(), &["doctor"]).output().unwrap();
    assert!(examined.status.success() && text(&examined).contains("the chain is whole"), "{}", text(&examined));
}

#[test]
fn files_stay_private_under_the_widest_umask_and_an_open_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let exe = env!("CARGO_BIN_EXE_stead");
    let start = format!("umask 000; exec {exe} serve --listen 127.0.0.1:0 --data-dir data");
    let mut command = Command::new("bash");
    command.arg("-c").arg(start).current_dir(directory.path());
    Running::start(command).stop();
    let data = directory.path().join("data");
    for file in fs::read_dir(&data).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let refused =
        stead(directory.path(), &["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]).output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("chmod 700"), "{}", text(&refused));
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(data.join("pepper"), fs::Permissions::from_mode(0o644)).unwrap();
    let examined = stead(directory.path(), &["doctor", "--data-dir", "data"]).output().unwrap();
    assert!(!examined.status.success() && text(&examined).contains("pepper"), "{}", text(&examined));
}

#[test]
fn all_mistakes_in_the_settings_are_told_at_once_and_no_secret_is_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = stead(directory.path(), &["serve", "--listen", "nowhere", "--seats", "0"]);
    let refused = command.env("STEAD_ADMIN_API_KEY", "short-secret").env("STEAD_LOG_FORMAT", "xml").output().unwrap();
    let told = text(&refused);
    assert!(!refused.status.success());
    for mistake in ["listen:", "seats:", "admin-api-key:", "log-format:"] {
        assert!(told.contains(mistake), "no {mistake} in {told}");
    }
    assert!(!told.contains("short-secret"), "{told}");
    assert!(!directory.path().join("stead-data").exists());
}

#[test]
fn a_lost_pepper_or_a_wrong_one_is_no_reason_to_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    Running::start(stead(directory.path(), &serve)).stop();
    let pepper = directory.path().join("stead-data/pepper");
    let kept = fs::read_to_string(&pepper).unwrap();
    fs::remove_file(&pepper).unwrap();
    let refused = stead(directory.path(), &serve).output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("pepper is missing"), "{}", text(&refused));
    let wrong = format!("1:{}", "ab".repeat(32));
    let refused = stead(directory.path(), &serve).env("STEAD_PEPPER", &wrong).output().unwrap();
    assert!(
        !refused.status.success() && text(&refused).contains("not the one this database was made with"),
        "{}",
        text(&refused)
    );
    assert!(!text(&refused).contains(&wrong[2..]));
    let right = Running::start({
        let mut command = stead(directory.path(), &serve);
        command.env("STEAD_PEPPER", kept.trim());
        command
    });
    right.stop();
}

#[test]
fn a_lost_owners_key_is_made_anew_and_a_new_pepper_keeps_old_keys() {
    let directory = tempfile::tempdir().unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    Running::start(stead(directory.path(), &serve)).stop();
    let made = stead(directory.path(), &["owner-key"]).output().unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let key = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    assert!(key.starts_with("stead_"));
    let rotated = stead(directory.path(), &["rotate-pepper"]).output().unwrap();
    assert!(rotated.status.success() && text(&rotated).contains("Pepper 2"), "{}", text(&rotated));
    assert_eq!(mode(&directory.path().join("stead-data/pepper")), 0o600);
    let server = Running::start(stead(directory.path(), &serve));
    let whoami = bash(directory.path(), &format!("curl -sS {}/v1/user -H 'xi-api-key: {key}'", server.url));
    assert!(text(&whoami).contains(r#""seat_type":"workspace_admin""#), "{}", text(&whoami));
    // While the server runs, its database is its own.
    let refused = stead(directory.path(), &["owner-key"]).output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("another stead"), "{}", text(&refused));
    server.stop();
}

#[test]
fn it_speaks_tls_with_a_certificate_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let made = bash(
        directory.path(),
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem \
         -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost",
    );
    assert!(made.status.success(), "{}", text(&made));
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--tls-cert", "cert.pem", "--tls-key", "key.pem"];
    let server = Running::start(stead(directory.path(), &arguments));
    let port = server.url.rsplit(':').next().unwrap().to_owned();
    assert!(server.url.starts_with("https://"));
    let asked = bash(directory.path(), &format!("curl -sS --cacert cert.pem https://localhost:{port}/readyz"));
    assert_eq!(text(&asked), r#"{"status":"ok"}"#);
    // A client that shakes no hands harms nobody.
    let _silent = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
    server.stop();
    let refused =
        stead(directory.path(), &["serve", "--tls-cert", "none.pem", "--tls-key", "key.pem"]).output().unwrap();
    assert!(!refused.status.success() && text(&refused).contains("none.pem"), "{}", text(&refused));
}
