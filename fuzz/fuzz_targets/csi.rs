//! Any call and body as a message of the Container Storage Interface: no panic, and every fault in one line.
//! The first line of the input is the call, the rest its body.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (call, body) = bytes.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let Ok(call) = std::str::from_utf8(call) else { return };
    if let Err(text) = orlop_csi::understand(call, body) {
        assert!(!text.is_empty() && !text.contains(char::is_control), "{text:?}");
    }
});
