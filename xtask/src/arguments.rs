//! The words after a command's name. Each command takes what it knows and then calls [`Arguments::done`], so that a
//! mistyped flag is an error before anything runs.

use crate::process::Outcome;

pub(crate) struct Arguments(Vec<String>);

impl Arguments {
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Self {
        Self(words.collect())
    }

    pub(crate) fn switch(&mut self, name: &str) -> bool {
        let place = self.0.iter().position(|word| word == name);
        place.map(|place| self.0.remove(place)).is_some()
    }

    pub(crate) fn number(&mut self, name: &str, default: u32) -> Outcome<u32> {
        let Some(place) = self.0.iter().position(|word| word == name) else {
            return Ok(default);
        };
        self.0.remove(place);
        if place == self.0.len() {
            return Err(format!("{name} needs a number"));
        }
        let word = self.0.remove(place);
        word.parse().map_err(|_| format!("{name} needs a number, not `{word}`"))
    }

    /// What stands after `--`.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let Some(place) = self.0.iter().position(|word| word == "--") else {
            return Vec::new();
        };
        self.0.drain(place..).skip(1).collect()
    }

    pub(crate) fn done(self) -> Outcome {
        match self.0.first() {
            None => Ok(()),
            Some(word) => Err(format!("don't know what to do with `{word}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Arguments {
        Arguments::new(line.split_whitespace().map(String::from))
    }

    #[test]
    fn takes_what_it_knows_and_refuses_the_rest() {
        let mut given = words("--cycles 7 --postgres");
        assert_eq!(given.number("--cycles", 1000), Ok(7));
        assert!(given.switch("--postgres"));
        assert_eq!(given.done(), Ok(()));

        assert_eq!(words("").number("--cycles", 1000), Ok(1000));
        assert!(words("--cycles").number("--cycles", 1).is_err());
        assert!(words("--cycles many").number("--cycles", 1).is_err());
        assert!(words("--cycle 7").done().is_err());
    }

    #[test]
    fn leaves_the_words_after_the_dashes_alone() {
        let mut given = words("-- -p stead kill -- --nocapture");
        assert_eq!(given.rest().join(" "), "-p stead kill -- --nocapture");
        assert_eq!(given.done(), Ok(()));
    }
}
