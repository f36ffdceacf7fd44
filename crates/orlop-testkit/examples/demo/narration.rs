//! How the demo speaks: chapters, commands, what they answered, and what that proves.

use std::time::Instant;

/// The voice of the demo.
pub(crate) struct Narration {
    chapter: u32,
    begun: Instant,
    proofs: u32,
}

impl Narration {
    pub(crate) fn begin() -> Self {
        Self { chapter: 0, begun: Instant::now(), proofs: 0 }
    }

    /// Begins a chapter.
    pub(crate) fn chapter(&mut self, title: &str) {
        self.chapter += 1;
        println!("\n{}. {title}", self.chapter);
    }

    /// Shows a command as a user would type it, and its answer.
    pub(crate) fn shows(&self, command: &str, answer: &str) {
        println!("   $ {command}");
        for line in answer.lines() {
            println!("     {line}");
        }
    }

    /// Says what was just proved.
    #[track_caller]
    pub(crate) fn proves(&mut self, held: bool, sentence: &str, seen: &str) {
        assert!(held, "{sentence}\n\nWhat was seen instead:\n{seen}");
        self.proofs += 1;
        println!("   ✓ {sentence}");
    }

    pub(crate) fn end(&self) {
        println!("\n{} things proved in {:.0} s.", self.proofs, self.begun.elapsed().as_secs_f64());
    }
}
