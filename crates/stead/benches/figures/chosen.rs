//! Which figures to take: all of them, or those whose words stand on the command line.

use anyhow::{Result, bail};

/// Every word there is.
pub(crate) const WORDS: &[&str] = &[
    "starts",
    "creation",
    "verification",
    "forward-auth",
    "redis",
    "postgres",
    "fastapi",
    "better-auth",
    "latency",
    "quiet",
    "shared",
    "mirror",
    "revocation",
    "growth",
];

/// The words of this run; none means all.
pub(crate) struct Chosen(Vec<String>);

impl Chosen {
    pub(crate) fn read(words: impl Iterator<Item = String>) -> Result<Self> {
        // Cargo adds flags of its own.
        let words: Vec<_> = words.filter(|word| !word.starts_with('-')).collect();
        if let Some(word) = words.iter().find(|word| !WORDS.contains(&word.as_str())) {
            bail!("there are no figures called `{word}`; there are: {}", WORDS.join(", "));
        }
        Ok(Self(words))
    }

    /// A part of a run is for trying things out: it takes fewer keys and writes no file.
    pub(crate) fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn has(&self, word: &str) -> bool {
        debug_assert!(WORDS.contains(&word));
        self.is_all() || self.0.iter().any(|chosen| chosen == word)
    }

    pub(crate) fn has_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.has(word))
    }
}
