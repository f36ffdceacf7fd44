//! The main job, shown step by step with a real Podman: what `cargo xtask demo` runs.
//!
//! Every sentence that is printed with a tick was checked just before. The first check that fails ends the
//! demo with what was seen; all that it made is swept away either way.
#![forbid(unsafe_code)]

mod narration;
mod story;

use std::{panic, process::ExitCode};

fn main() -> ExitCode {
    // The harness reports what it saw by panicking, which is right in a test. Here it is a sentence.
    panic::set_hook(Box::new(|info| {
        let what = info.payload_as_str().unwrap_or("something that has no words");
        eprintln!("\nThe demo stopped, because this did not hold:\n\n{what}\n");
        eprintln!("Nothing is left behind. Please report it with the text above.");
    }));
    match panic::catch_unwind(story::tell) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
