//! A PostgreSQL of our own for as long as a chore runs: a fresh cluster in a temporary folder, on a free loopback port.

use std::fs::{self, DirBuilder};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{Outcome, is_root};
use crate::tools;

const PATIENCE: Duration = Duration::from_mins(1);

/// Ends the server and removes its folder when standard input ends. The other end of that pipe is ours, so this holds
/// however we end: a failed test, a panic, Ctrl-C, even `kill -9`. A `Drop` alone would leave a server behind for the
/// last two.
const KEEPER: &str = r#"
folder=$1 bin=$2 port=$3
"$bin/initdb" -D "$folder/data" -U postgres --auth=trust --encoding=UTF8 --locale=C --no-sync \
    </dev/null >"$folder/log" 2>&1 || exit 1
"$bin/postgres" -D "$folder/data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
    -c fsync=off -c max_connections=200 </dev/null >>"$folder/log" 2>&1 &
server=$!
read -r _
kill -INT $server
wait $server
cd / && rm -rf "$folder"
"#;

pub(crate) struct Postgres {
    keeper: Child,
    folder: PathBuf,
    port: u16,
}

impl Postgres {
    pub(crate) fn start() -> Outcome<Self> {
        tools::ensure(&[tools::POSTGRES])?;
        let bin = tools::postgres_bin().ok_or("PostgreSQL was here a moment ago")?;
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let folder = std::env::temp_dir().join(format!("stead-postgres-{}-{port}", std::process::id()));
        let mut server = spawn(&bin, folder, port).map_err(|error| format!("can't start PostgreSQL: {error}"))?;

        let started = Instant::now();
        while !server.ready() {
            let log = fs::read_to_string(server.folder.join("log")).unwrap_or_default();
            let gone = server.keeper.try_wait().is_ok_and(|end| end.is_some());
            if gone || log.contains("FATAL") || started.elapsed() > PATIENCE {
                return Err(format!("PostgreSQL did not start; its log:\n{log}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Trusts everyone: reachable from this machine only, and empty.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The server itself writes so on the eighth line of its lock file; a client to ask might not be installed.
    fn ready(&self) -> bool {
        let lock = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        lock.lines().nth(7).is_some_and(|status| status.trim() == "ready")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // Nothing more can be done about a failure here, and the outcome of the chore matters more.
        let _ = self.keeper.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(bin: &Path, folder: PathBuf, port: u16) -> std::io::Result<Postgres> {
    DirBuilder::new().mode(0o700).create(&folder)?;
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "keeper"]).arg(&folder).arg(bin).arg(port.to_string());
    // A group of its own, or Ctrl-C would end the keeper before it has tidied up.
    keeper.process_group(0).current_dir(&folder).stdin(Stdio::piped());
    // PostgreSQL refuses to run as root.
    if is_root() {
        let users = fs::read_to_string("/etc/passwd")?;
        let (user, group) = unprivileged(&users)
            .ok_or_else(|| std::io::Error::other("root needs a user `postgres` or `nobody` to run it as"))?;
        chown(&folder, Some(user), Some(group))?;
        keeper.uid(user).gid(group);
    }
    let keeper = keeper.spawn()?;
    Ok(Postgres { keeper, folder, port })
}

fn unprivileged(passwd: &str) -> Option<(u32, u32)> {
    let of = |name: &str| {
        let mut fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let user = fields.find(|fields| fields.first() == Some(&name))?;
        Some((user.get(2)?.parse().ok()?, user.get(3)?.parse().ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_the_user_made_for_it() {
        let nobody = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";
        assert_eq!(unprivileged(nobody), Some((65534, 65533)));
        let both = format!("{nobody}postgres:x:101:104::/:/bin/sh\n");
        assert_eq!(unprivileged(&both), Some((101, 104)));
        assert_eq!(unprivileged("root:x:0:0::/:/bin/sh\n"), None);
    }
}
