//! A filesystem whose power can be cut: an ext4 image on a loop mount. Needs root.
//!
//! The shutdown ioctl without log flush drops everything that was not synced, as a power cut does: cached
//! pages, and the filesystem's own journal. What a process had written but not synced is gone after the
//! next mount.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const IMAGE_BYTES: u64 = 256 * 1024 * 1024;

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`, asked for by a helper process: an ioctl is
/// `unsafe` code in Rust, which the workspace forbids.
const SHUTDOWN: &str = "
import fcntl, os, struct, sys
mount = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(mount, 0x8004587D, struct.pack('I', 2))
";

/// The mounted image. Dropped, it is unmounted (which frees the loop device) and removed.
#[derive(Debug)]
pub(crate) struct Disk {
    scratch: TempDir,
}

impl Disk {
    /// Makes an empty ext4 filesystem and mounts it.
    pub(crate) fn make() -> Result<Self, String> {
        let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
        let disk = Self { scratch };
        let image = File::create(disk.image()).map_err(|error| error.to_string())?;
        image.set_len(IMAGE_BYTES).map_err(|error| error.to_string())?;
        fs::create_dir(disk.path()).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.scratch.path().join("mount")
    }

    /// A place for what must survive the cuts, such as the server's log.
    pub(crate) fn beside(&self) -> &Path {
        self.scratch.path()
    }

    /// Brings everything written so far to the disk, whoever wrote it.
    pub(crate) fn flush(&self) -> Result<(), String> {
        run(Command::new("sync").arg("-f").arg(self.path()))
    }

    /// The power cut: from here on the filesystem answers every call with an error.
    pub(crate) fn cut(&self) -> Result<(), String> {
        run(Command::new("python3").args(["-c", SHUTDOWN]).arg(self.path()))
    }

    /// The power comes back. Nothing may have files open there any more.
    pub(crate) fn power_on(&self) -> Result<(), String> {
        run(Command::new("umount").arg(self.path()))?;
        self.mount()
    }

    fn image(&self) -> PathBuf {
        self.scratch.path().join("image")
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.path()))
    }

    fn is_mounted(&self) -> bool {
        Command::new("mountpoint").arg("-q").arg(self.path()).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The lazy way is for a server that still runs because a test panicked in an odd place. The loop
        // device was bound by `mount`, so the kernel frees it with the mount. A failure is told and no more:
        // there may be a panic under way, and a second one would hide the first.
        let gone = !self.is_mounted()
            || run(Command::new("umount").arg(self.path())).is_ok()
            || run(Command::new("umount").arg("-l").arg(self.path())).is_ok();
        if !gone {
            super::report(&format!("{} is still mounted", self.path().display()));
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
}
