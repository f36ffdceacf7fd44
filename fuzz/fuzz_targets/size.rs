//! Any text as a size: no panic, and what it means can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orlop_model::Size;

fuzz_target!(|text: &str| {
    if let Ok(size) = Size::check(text) {
        assert_eq!(Size::check(&size.to_string()), Ok(size), "{text:?}");
        assert!(size.bytes() <= i64::MAX as u64);
    }
});
