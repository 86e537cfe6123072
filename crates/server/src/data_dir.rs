//! The data directory: 0700, every file in it 0600. Holds the pepper beside the database, never in it, and the
//! operator's credential.

use crate::clock::Entropy;
use crate::config::{Config, operator_api_key, peppers};
use crate::seal::hex;
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use stead_api::secret::{Format, Secret, mint_operator};
use stead_verify::pepper::Ring;
use zeroize::Zeroizing;

/// The file of the operator's credential, in one line.
pub const OPERATOR_KEY: &str = "operator-key";
/// The file of the peppers, one `<version>:<64 hex digits>` a line.
const PEPPER: &str = "pepper";

/// Makes the directory if it is not there, and refuses one that others may look into.
pub fn prepare(directory: &Path) -> Result<(), String> {
    let told = |error: std::io::Error| format!("{}: {error}", directory.display());
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(told)?;
        // The mode above is cut by the umask; a umask can only take rights away, but say it plainly.
        std::fs::set_permissions(directory, Permissions::from_mode(0o700)).map_err(told)?;
    }
    match open_to_others(directory) {
        Ok(false) => Ok(()),
        Ok(true) => {
            Err(format!("{}: other users of this machine may look into it; run: chmod 700 {0}", directory.display()))
        }
        Err(error) => Err(told(error)),
    }
}

/// The peppers: from the settings, else from the file, which the first start makes. A database without its pepper is
/// refused: every key would be unknown.
pub fn ring(config: &Config, entropy: &dyn Entropy, database_is_new: bool) -> Result<Ring, String> {
    let entries = match &config.peppers {
        Some(entries) => entries.clone(),
        None => from_file(&config.data_dir.join(PEPPER), entropy, database_is_new)?,
    };
    Ring::new(entries).ok_or_else(|| "pepper: two peppers have the same version".into())
}

fn from_file(file: &Path, entropy: &dyn Entropy, may_create: bool) -> Result<Vec<(u8, [u8; 32])>, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    if !file.exists() {
        if !may_create {
            return Err(told(&"the pepper is missing. Without it no key of the database can be verified: put it back"));
        }
        append(file, 1, entropy).map_err(|error| told(&error))?;
    }
    peppers(&private(file)?, '\n').map_err(|error| told(&error))
}

/// The text of a file that nobody else may read.
fn private(file: &Path) -> Result<Zeroizing<String>, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    if open_to_others(file).map_err(|error| told(&error))? {
        return Err(told(&format!("other users of this machine may read it; run: chmod 600 {}", file.display())));
    }
    std::fs::read_to_string(file).map(Zeroizing::new).map_err(|error| told(&error))
}

/// The operator's credential as the data directory has it.
pub fn operator_key(directory: &Path, format: &Format) -> Result<Secret, String> {
    let file = directory.join(OPERATOR_KEY);
    let text = private(&file)?;
    operator_api_key(format, text.trim()).map_err(|error| format!("{}: {error}", file.display()))
}

/// The file of the operator's credential, if none was there and it was made now.
pub fn make_operator_key(directory: &Path, entropy: &dyn Entropy) -> Result<Option<PathBuf>, String> {
    let file = directory.join(OPERATOR_KEY);
    if file.exists() {
        return Ok(None);
    }
    let text = Zeroizing::new(format!("{}\n", mint_operator(entropy.stream()).expose()));
    write(&file, &text).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Some(file))
}

/// Adds a new pepper to the file: from the next start on it makes all new digests and seals, and the older ones still
/// check theirs. Returns its version.
pub fn rotate_pepper(directory: &Path, entropy: &dyn Entropy) -> Result<u8, String> {
    let file = directory.join(PEPPER);
    let known = from_file(&file, entropy, false)?;
    let newest = known.iter().map(|(version, _)| *version).max().unwrap_or(0);
    let version = newest.checked_add(1).ok_or("255 peppers are the most there can be")?;
    append(&file, version, entropy).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(version)
}

/// Adds one more pepper to the file.
fn append(file: &Path, version: u8, entropy: &dyn Entropy) -> std::io::Result<()> {
    let mut text = Zeroizing::new(if file.exists() { std::fs::read_to_string(file)? } else { String::new() });
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let pepper: Zeroizing<[u8; 32]> = Zeroizing::new(entropy.bytes());
    for part in [
        &*version.to_string(),
        ":",
        &*Zeroizing::new(hex(&*pepper)),
        "
",
    ] {
        text.push_str(part);
    }
    write(file, &text)
}

/// Writes a new file, flushes it, and puts it in the place of the old: whatever happens in between, one whole file is
/// there.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    let fresh = file.with_extension("new");
    let mut written = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    std::fs::rename(&fresh, file)?;
    std::fs::File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()
}

fn open_to_others(path: &Path) -> std::io::Result<bool> {
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// The directory's files that other users may read, and itself if they may look into it.
pub fn exposed(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = vec![directory.to_owned()];
    for entry in std::fs::read_dir(directory)? {
        paths.push(entry?.path());
    }
    let mut exposed = Vec::new();
    for path in paths {
        if open_to_others(&path)? {
            exposed.push(path);
        }
    }
    Ok(exposed)
}
