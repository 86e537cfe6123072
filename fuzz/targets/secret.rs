//! The form of secrets: what is taken for one of ours is one, and no change of a character leaves it one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stead_api::secret::{Form, Format};

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fuzz_target!(|data: &[u8]| {
    let format = Format::default();
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(Form::Native { .. }) = format.inspect(text) {
            check(&format, text, data);
        }
    }
    // Random input is never one of ours, so one is made of it.
    let mut octets = data.iter().copied().cycle();
    if data.iter().all(|octet| *octet >= 248) {
        return;
    }
    let tag = Format::tag(|| octets.next().unwrap_or(0));
    let made = format.mint(&tag, || octets.next().unwrap_or(0));
    check(&format, made.expose(), data);
});

fn check(format: &Format, text: &str, data: &[u8]) {
    assert_eq!(text.len(), 50);
    let Ok(Form::Native { tag }) = format.inspect(text) else { panic!("what was minted is not ours") };
    // Made again of its own parts it is the same.
    let digits = text.as_bytes()[12..44].iter().map(|digit| BASE62.iter().position(|known| known == digit));
    let mut digits = digits.map(|place| u8::try_from(place.expect("base62")).expect("small"));
    let again = format.mint(tag, || digits.next().expect("32 digits"));
    assert!(again.expose() == text, "it doesn't mint to itself");
    // Any one character changed to any other; cut or lengthened.
    let (at, to) = (usize::from(data.first().copied().unwrap_or(0)) % 50, data.get(1).copied().unwrap_or(0) & 0x7f);
    let mut changed = text.as_bytes().to_vec();
    if changed[at] != to {
        changed[at] = to;
        let changed = String::from_utf8(changed).expect("ASCII");
        assert!(!matches!(format.inspect(&changed), Ok(Form::Native { .. })), "a changed one is taken for ours");
    }
    assert!(!matches!(format.inspect(&text[..at]), Ok(Form::Native { .. })));
    assert!(!matches!(format.inspect(&format!("{text}{}", char::from(to))), Ok(Form::Native { .. })));
}
