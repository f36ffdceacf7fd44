//! How many tests passed, failed and were skipped, read from what the test runners print.

use std::fmt;
use std::ops::AddAssign;

/// Numbers of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl Counts {
    /// Moves tests that passed because they skipped themselves to where they belong.
    pub(crate) fn with_self_skipped(mut self, skips: usize) -> Self {
        let moved = skips.min(self.passed);
        self.passed -= moved;
        self.skipped += moved;
        self
    }
}

/// From nextest's last lines: `Summary [ 1.2s] 5 tests run: 3 passed (1 slow), 2 failed, 1 skipped`.
/// A test that never ended or never started has failed.
pub(crate) fn of_nextest(text: &str) -> Option<Counts> {
    let summary = text.lines().rev().find(|line| line.trim_start().starts_with("Summary ["))?;
    let (_, counted) = summary.split_once(" run: ")?;
    let mut counts = Counts::default();
    for (number, word) in numbered(&without_parentheses(counted), ',') {
        match word.as_str() {
            "passed" => counts.passed += number,
            "skipped" => counts.skipped += number,
            _ => counts.failed += number,
        }
    }
    Some(counts)
}

/// From `cargo test`: the sum of its lines `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
pub(crate) fn of_cargo_test(text: &str) -> Counts {
    let mut counts = Counts::default();
    for line in text.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        let counted = line.split_once(". ").map_or("", |(_, counted)| counted);
        for (number, word) in numbered(counted, ';') {
            match word.as_str() {
                "passed" => counts.passed += number,
                "failed" => counts.failed += number,
                "ignored" => counts.skipped += number,
                _ => {}
            }
        }
    }
    counts
}

fn numbered(text: &str, separator: char) -> impl Iterator<Item = (usize, String)> {
    text.split(separator).filter_map(|part| {
        let (number, word) = part.trim().split_once(' ')?;
        Some((number.parse().ok()?, word.trim().to_owned()))
    })
}

fn without_parentheses(text: &str) -> String {
    let mut depth = 0usize;
    text.chars()
        .filter(|c| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: usize, failed: usize, skipped: usize) -> Counts {
        Counts { passed, failed, skipped }
    }

    #[test]
    fn nextest_summaries() {
        for (text, expected) in [
            ("     Summary [  31.798s] 30 tests run: 30 passed, 0 skipped", counts(30, 0, 0)),
            ("Summary [1s] 1 test run: 1 passed, 29 skipped\n", counts(1, 0, 29)),
            (
                "x\n Summary [ 2.1s] 9 tests run: 5 passed (1 slow, 2 leaky), 2 failed, \
                 1 timed out, 1 exec failed, 4 skipped\n  FAIL a\nerror: test run failed",
                counts(5, 4, 4),
            ),
        ] {
            assert_eq!(of_nextest(text), Some(expected), "{text}");
        }
        assert_eq!(of_nextest("error: could not compile"), None);
    }

    #[test]
    fn cargo_test_results_are_summed() {
        let text = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                    noise\n\
                    test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 5 filtered out";
        assert_eq!(of_cargo_test(text), counts(4, 2, 1));
        assert_eq!(of_cargo_test(""), counts(0, 0, 0));
    }

    #[test]
    fn tests_that_skip_themselves_have_not_passed() {
        let sum = counts(10, 1, 2).with_self_skipped(3);
        assert_eq!(sum.to_string(), "7 passed, 1 failed, 5 skipped");
    }
}
