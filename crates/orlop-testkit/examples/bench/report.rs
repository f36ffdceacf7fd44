//! The rows of the result, as a table for a reader and as JSON for a program.

use std::fmt::Write;

use serde_json::{Value, json};

/// Which side of an aim is good.
#[derive(Clone, Copy)]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
    /// A figure to know, with nothing to reach.
    Told,
}

/// One figure.
struct Row {
    section: &'static str,
    what: String,
    value: f64,
    unit: &'static str,
    aim: Aim,
    /// What the figure is made of: samples, the peer's own figure, how often a blank was used.
    detail: String,
}

/// All figures of a run.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn add(
        &mut self,
        section: &'static str,
        what: impl Into<String>,
        (value, unit): (f64, &'static str),
        aim: Aim,
        detail: impl Into<String>,
    ) {
        let row = Row { section, what: what.into(), value, unit, aim, detail: detail.into() };
        eprintln!("  {}: {} {} ({})", row.what, number(row.value), row.unit, row.detail);
        self.rows.push(row);
    }

    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.what.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        let mut section = "";
        for row in &self.rows {
            if row.section != section {
                section = row.section;
                let _ = writeln!(text, "\n{section}");
            }
            let pad = width - row.what.chars().count();
            let figure = format!("{} {}", number(row.value), row.unit);
            let _ = writeln!(
                text,
                "  {}{:pad$}  {figure:>14}  {:<16}  {}",
                row.what,
                "",
                row.aim.words(row.value),
                row.detail
            );
        }
        text
    }

    pub(crate) fn json(&self) -> String {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "section": row.section, "what": row.what, "value": row.value, "unit": row.unit,
                    "aim": row.aim.bound(), "met": row.aim.met(row.value), "detail": row.detail,
                })
            })
            .collect();
        format!("{:#}\n", json!({ "rows": rows }))
    }
}

impl Aim {
    fn met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(most) => Some(value <= most),
            Self::AtLeast(least) => Some(value >= least),
            Self::Told => None,
        }
    }

    fn bound(self) -> Option<String> {
        match self {
            Self::AtMost(most) => Some(format!("≤ {}", number(most))),
            Self::AtLeast(least) => Some(format!("≥ {}", number(least))),
            Self::Told => None,
        }
    }

    fn words(self, value: f64) -> String {
        match (self.bound(), self.met(value)) {
            (Some(bound), Some(true)) => format!("aim {bound}  met"),
            (Some(bound), _) => format!("aim {bound}  MISSED"),
            (None, _) => String::new(),
        }
    }
}

fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
