//! The use of a volume over the last day, drawn with characters.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};
use orlop_model::UsageSample;

use super::quantity;

/// Rows of characters.
const HEIGHT: u64 = 6;
/// What is drawn.
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// The eighths of a row that are filled, from below.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws the samples of the day before `now` in so many columns, below a line that says the scale.
/// Between two samples the first holds; before the first nothing is known. `None` without samples.
pub(crate) fn day(samples: &[UsageSample], now: Timestamp, columns: usize, unicode: bool) -> Option<String> {
    let top = samples.iter().map(|sample| sample.capacity_bytes).max().filter(|top| *top > 0)?;
    let begin = now - DAY;
    let count = i64::try_from(columns).ok().filter(|count| *count > 0)?;
    let edge = |index: i64| begin + SignedDuration::from_secs(DAY.as_secs() * index / count);
    let column = |index: i64| {
        let (from, until) = (edge(index), edge(index + 1));
        let before = samples.iter().rev().find(|sample| sample.at <= from);
        let within = samples.iter().filter(|sample| sample.at > from && sample.at <= until);
        // A peak must not be lost between two columns.
        before.into_iter().chain(within).map(|sample| sample.used_bytes).max()
    };
    let used: Vec<Option<u64>> = (0..count).map(column).collect();
    let label = |row: u64| match row {
        row if row == HEIGHT - 1 => quantity::bytes(top),
        0 => "0".to_owned(),
        _ => String::new(),
    };
    let bar = if unicode { '│' } else { '|' };
    let mut text = String::new();
    for row in (0..HEIGHT).rev() {
        let line: String = used.iter().map(|used| cell(*used, top, row, unicode)).collect();
        // Writing to a string can't fail.
        let _ = writeln!(text, "{:>7} {bar}{}", label(row), line.trim_end());
    }
    let (corner, dash) = if unicode { ('└', '─') } else { ('+', '-') };
    let _ = writeln!(text, "{:>7} {corner}{}", "", String::from(dash).repeat(columns));
    let (left, right) = ("24 h ago", "now");
    let gap = columns.saturating_sub(left.len() + right.len());
    let _ = writeln!(text, "{:>7}  {left}{}{right}", "", " ".repeat(gap));
    Some(text)
}

/// One character: how much of it is filled. What is used at all shows at least something.
fn cell(used: Option<u64>, top: u64, row: u64, unicode: bool) -> char {
    let Some(used) = used else { return ' ' };
    let eighths = u128::from(used) * u128::from(HEIGHT * 8) / u128::from(top);
    let eighths = u64::try_from(eighths).unwrap_or(u64::MAX).max(u64::from(used > 0));
    let filled = eighths.saturating_sub(row * 8).min(8);
    if unicode {
        return usize::try_from(filled).ok().and_then(|filled| BLOCKS.get(filled)).copied().unwrap_or(' ');
    }
    match filled {
        0 => ' ',
        1..5 => '.',
        _ => '#',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: &str, used_bytes: u64) -> UsageSample {
        UsageSample { at: at.parse().unwrap(), used_bytes, capacity_bytes: 64 << 20 }
    }

    fn day_of(unicode: bool) -> String {
        let samples = [
            sample("2026-11-21T18:00:00Z", 0),
            sample("2026-11-21T20:00:00Z", 10 << 20),
            sample("2026-11-22T00:00:00Z", 40 << 20),
            // Between two columns.
            sample("2026-11-22T04:10:00Z", 64 << 20),
            sample("2026-11-22T04:20:00Z", 20 << 20),
        ];
        day(&samples, "2026-11-22T12:00:00Z".parse().unwrap(), 24, unicode).unwrap()
    }

    #[test]
    fn a_day_is_drawn() {
        insta::assert_snapshot!(format!("{}\n{}", day_of(true), day_of(false)));
    }

    #[test]
    fn nothing_known_is_nothing_drawn() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        assert_eq!(day(&[], now, 24, true), None);
        assert_eq!(day(&[sample("2026-11-22T11:00:00Z", 1)], now, 0, true), None);
    }
}
