//! Entries as lines of a table (RFC 4180), for spreadsheets.
//!
//! A field that a spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@`, a tab or a line's end) gets an
//! apostrophe in front, and so does one that begins with an apostrophe: whoever takes one off gets back what was there.

use std::io::{self, Write};
use stead_api::audit::AuditLogEntry;

/// The columns.
pub const COLUMNS: [&str; 22] = [
    "time",
    "id",
    "workspace_id",
    "sequence",
    "activity_name",
    "class_name",
    "status_id",
    "message",
    "actor_uid",
    "actor_type",
    "actor_name",
    "actor_email",
    "key_id",
    "ip",
    "http_method",
    "path",
    "user_agent",
    "request_id",
    "target_type",
    "target_id",
    "target_name",
    "details",
];

/// The first line.
pub fn header(out: &mut impl Write) -> io::Result<()> {
    out.write_all(COLUMNS.join(",").as_bytes())?;
    out.write_all(b"\r\n")
}

/// An entry's line.
pub fn line(out: &mut impl Write, entry: &AuditLogEntry) -> io::Result<()> {
    let (user, unmapped, http) = (&entry.actor.user, &entry.unmapped, entry.http_request.as_ref());
    let given = |text: &Option<String>| text.clone().unwrap_or_default();
    let fields: [String; COLUMNS.len()] = [
        entry.time_dt.clone(),
        entry.id.to_string(),
        entry.metadata.tenant_uid.to_string(),
        entry.metadata.sequence.to_string(),
        entry.activity_name.clone(),
        entry.class_name.clone(),
        entry.status_id.to_string(),
        entry.message.clone(),
        given(&user.uid),
        user.kind.clone(),
        given(&user.name),
        given(&user.email_addr),
        unmapped.key_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        entry.device.as_ref().map(|device| device.ip.to_string()).unwrap_or_default(),
        http.map(|http| http.http_method.clone()).unwrap_or_default(),
        http.map(|http| http.url.path.clone()).unwrap_or_default(),
        http.and_then(|http| http.user_agent.clone()).unwrap_or_default(),
        unmapped.request_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        unmapped.target.kind.clone(),
        unmapped.target.id.clone(),
        unmapped.target.name.clone(),
        unmapped.details.to_string(),
    ];
    for (place, text) in fields.iter().enumerate() {
        if place > 0 {
            out.write_all(b",")?;
        }
        field(out, text)?;
    }
    out.write_all(b"\r\n")
}

fn field(out: &mut impl Write, text: &str) -> io::Result<()> {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\'']) { "'" } else { "" };
    if text.contains([',', '"', '\r', '\n']) {
        write!(out, "\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        write!(out, "{guard}{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        field(&mut out, text).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// Reads a field back as a spreadsheet does, then takes the apostrophe off.
    fn read(field: &str) -> String {
        let plain = match field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) => inner.replace("\"\"", "\""),
            None => field.to_owned(),
        };
        plain.strip_prefix('\'').unwrap_or(&plain).to_owned()
    }

    #[test]
    fn formulas_are_text() {
        assert_eq!(written("=1+1"), "'=1+1");
        assert_eq!(written("@SUM(A1,A2)"), "\"'@SUM(A1,A2)\"");
        assert_eq!(written("say \"hi\""), "\"say \"\"hi\"\"\"");
        assert_eq!(written("plain"), "plain");
    }

    proptest! {
        #[test]
        fn every_field_reads_back_and_none_is_a_formula(text in "[=+\\-@\t\r\n'\",a-z ]{0,12}") {
            let written = written(&text);
            prop_assert_eq!(read(&written), text);
            let shown = written.strip_prefix('"').unwrap_or(&written);
            prop_assert!(!shown.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']));
        }
    }
}
