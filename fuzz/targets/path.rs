//! The normal form of paths: refused, or what every naive reader takes it for; and its own normal form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stead_server::verify::path::normalise;

fuzz_target!(|data: &[u8]| {
    let spelled = [&b"/"[..], data].concat();
    for target in [data, &spelled] {
        let Ok(path) = normalise(target) else { continue };
        let again = normalise(path.as_str().as_bytes()).expect("a normal form is judged");
        assert_eq!(again, path);
        let read = target.split(|octet| *octet == b'?').next().unwrap_or_default();
        let meant = decoded(path.as_str().as_bytes());
        assert_eq!(decoded(read), meant);
        // Decoding twice may only differ where no reader could see an escape.
        assert_eq!(decoded(&decoded(&meant)), decoded(&meant));
        assert_eq!(resolved(&meant), meant, "a dot or an empty segment is left");
        assert_eq!(resolved(&decoded(&cut(read))), meant, "parameters are left");
        assert!(!meant.contains(&b'\\') && !meant.contains(&0) && std::str::from_utf8(&meant).is_ok());
        let parts: Vec<_> = path.segments().map(str::as_bytes).collect();
        assert_eq!(parts.join(&b'/'), meant[1..].strip_suffix(b"/").unwrap_or(&meant[1..]));
    }
});

fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |at: usize| path.get(at).and_then(|octet| char::from(*octet).to_digit(16));
    let (mut octets, mut at) = (Vec::new(), 0);
    while at < path.len() {
        match (path[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                octets.push(u8::try_from(high * 16 + low).expect("an octet"));
                at += 3;
            }
            (octet, ..) => {
                octets.push(octet);
                at += 1;
            }
        }
    }
    octets
}

fn resolved(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let all: Vec<_> = path.split(|octet| *octet == b'/').collect();
    for (at, part) in all.iter().enumerate() {
        match *part {
            b"" | b"." if at + 1 < all.len() => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    [b"/", &parts.join(&b'/')[..]].concat()
}

fn cut(path: &[u8]) -> Vec<u8> {
    let part = |part: &[u8]| part.split(|octet| *octet == b';').next().unwrap_or_default().to_vec();
    path.split(|octet| *octet == b'/').map(part).collect::<Vec<_>>().join(&b'/')
}
