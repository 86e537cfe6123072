//! Writing answers, without allocating: into the connection's own buffer.

use super::head::Persistence;
use axum::http::StatusCode;
use std::cell::Cell;
use stead_api::time::Timestamp;

/// What says how long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes follow.
    Bytes(u64),
    /// Chunks follow.
    Chunked,
    /// There is no body, and nothing to say about it: 204 and 304; or it ends with the connection.
    Unsaid,
}

/// Writes the head of an answer with a body of `length` bytes, which are to follow at once. `persistence` is the
/// request's ([`super::head::Head::persistence`]); `now` makes the `date`. Names and values of `extra` are written as they are, so
/// they must be ours.
pub fn write_head(
    out: &mut Vec<u8>,
    status: u16,
    now: Timestamp,
    persistence: Persistence,
    content_type: Option<&str>,
    length: usize,
    extra: &[(&str, &str)],
) {
    begin(out, status, now, persistence, Length::Bytes(length as u64));
    if let Some(content_type) = content_type {
        field(out, "content-type", content_type.as_bytes());
    }
    for (name, value) in extra {
        field(out, name, value.as_bytes());
    }
    end(out);
}

/// Writes the status line and what the front itself has to say.
pub(super) fn begin(out: &mut Vec<u8>, status: u16, now: Timestamp, persistence: Persistence, length: Length) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        out.extend_from_slice(b"HTTP/1.1 ");
        number(out, u64::from(status));
        out.push(b' ');
        let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        out.extend_from_slice(reason.unwrap_or_default().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"date: ");
    out.extend_from_slice(&date(now));
    out.extend_from_slice(b"\r\n");
    match length {
        Length::Bytes(bytes) => {
            out.extend_from_slice(b"content-length: ");
            number(out, bytes);
            out.extend_from_slice(b"\r\n");
        }
        Length::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Length::Unsaid => {}
    }
    match persistence {
        Persistence::Keep => {}
        Persistence::KeepTold => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Persistence::Close => out.extend_from_slice(b"connection: close\r\n"),
    }
}

/// Writes one header.
pub(super) fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Ends the head.
pub(super) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Writes a chunk, which must not be empty: that would be the last one.
pub(super) fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    let digits = format!("{:x}\r\n", data.len());
    out.extend_from_slice(digits.as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number in digits.
pub fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = ascii_digit(value % 10);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[allow(clippy::cast_possible_truncation, reason = "the callers pass less than 10")]
fn ascii_digit(value: u64) -> u8 {
    b'0' + value as u8
}

/// As in `Sun, 06 Nov 1994 08:49:37 GMT`.
type Date = [u8; 29];

/// The date of an answer (RFC 9110 §5.6.7), made once a second and thread.
pub fn date(now: Timestamp) -> Date {
    thread_local! {
        static LAST: Cell<(i64, Date)> = const { Cell::new((i64::MIN, [0; 29])) };
    }
    let (made, date) = LAST.get();
    if made == now.seconds() {
        return date;
    }
    let date = imf_fixdate(now.seconds().max(0).unsigned_abs());
    LAST.set((now.seconds(), date));
    date
}

fn imf_fixdate(seconds: u64) -> Date {
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"MarAprMayJunJulAugSepOctNovDecJanFeb";
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Years are counted from March, so that the leap day is the last of its year; 719,468 days lie between 0000-03-01
    // and the epoch, 146,097 are 400 years (H. Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);

    let mut date = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    let name = |at: u64| usize::try_from(at).unwrap_or_default() * 3;
    let (weekday, month) = (name(day % 7), name(month));
    date[..3].copy_from_slice(&DAYS[weekday..weekday + 3]);
    date[8..11].copy_from_slice(&MONTHS[month..month + 3]);
    let pairs = [
        (5, day_of_month),
        (12, year / 100),
        (14, year % 100),
        (17, second / 3_600),
        (20, second / 60 % 60),
        (23, second % 60),
    ];
    for (at, value) in pairs {
        date[at] = ascii_digit(value / 10 % 10);
        date[at + 1] = ascii_digit(value % 10);
    }
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // Checked with `date -u -d @… '+%a, %d %b %Y %T GMT'`.
        for (seconds, wanted) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_795_348_800, "Sun, 22 Nov 2026 12:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(std::str::from_utf8(&date(Timestamp::from_seconds(seconds))).unwrap(), wanted);
        }
    }

    #[test]
    fn a_head_is_what_it_should_be() {
        let mut out = Vec::new();
        let now = Timestamp::from_seconds(0);
        write_head(
            &mut out,
            404,
            now,
            Persistence::Close,
            Some("application/json"),
            1234,
            &[("x-request-id", "req_1")],
        );
        number(&mut out, 0);
        number(&mut out, u64::MAX);
        let wanted = "HTTP/1.1 404 Not Found\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 1234\r\n\
            connection: close\r\ncontent-type: application/json\r\nx-request-id: req_1\r\n\r\n018446744073709551615";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }
}
