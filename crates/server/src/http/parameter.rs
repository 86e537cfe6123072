//! What a query may carry, as the description tells it. What is read is decided where it is read.

use serde_json::{Value, json};

/// A parameter of a query.
#[derive(Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// A word on it.
    pub about: &'static str,
    /// What it may be.
    kind: Kind,
    /// Whether it must be there.
    pub is_required: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number(i64, i64),
    Flag,
    Words(&'static [&'static str]),
}

impl Parameter {
    const fn new(name: &'static str, about: &'static str, kind: Kind) -> Self {
        Self { name, about, kind, is_required: false }
    }

    /// Any text.
    pub const fn text(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, Kind::Text)
    }

    /// An integer between two, both included.
    pub const fn number(name: &'static str, about: &'static str, least: i64, most: i64) -> Self {
        Self::new(name, about, Kind::Number(least, most))
    }

    /// `true` or `false`.
    pub const fn flag(name: &'static str, about: &'static str) -> Self {
        Self::new(name, about, Kind::Flag)
    }

    /// One of these.
    pub const fn words(name: &'static str, about: &'static str, words: &'static [&'static str]) -> Self {
        Self::new(name, about, Kind::Words(words))
    }

    /// It must be there.
    #[must_use]
    pub const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// As a schema.
    pub fn schema(self) -> Value {
        match self.kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Kind::Flag => json!({ "type": "boolean" }),
            Kind::Words(words) => json!({ "type": "string", "enum": words }),
        }
    }
}
