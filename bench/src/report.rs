//! What comes out: rows of figures, each beside what it is compared with and what is to be reached.
//! Pure, so that the arithmetic and the marks are tested without measuring anything.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::machine::Machine;
use crate::statistics::Samples;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    /// Milliseconds.
    Ms,
    /// Megabytes a second.
    MbPerS,
    /// Lines a second.
    LinesPerS,
    /// 1024 bytes.
    KiB,
    /// 1024 * 1024 bytes.
    MiB,
    /// So many a second.
    PerS,
    /// Hundredths of a core.
    Percent,
}

impl Unit {
    fn word(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::MbPerS => "MB/s",
            Self::LinesPerS => "lines/s",
            Self::KiB => "KiB",
            Self::MiB => "MiB",
            Self::PerS => "/s",
            Self::Percent => "%",
        }
    }
}

/// What a figure is compared with, measured in the same run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Beside {
    what: &'static str,
    value: f64,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ToReach {
    /// A limit that holds for what is shipped: the value is at most this.
    Limit(f64),
    /// A goal: the value is at most this.
    AtMost(f64),
    /// A goal: the value is at least this.
    AtLeast(f64),
    /// A goal: the ratio is at most this.
    RatioAtMost(f64),
    /// A goal: the ratio is at least this.
    RatioAtLeast(f64),
}

/// Whether it was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mark {
    /// Nothing is to be reached.
    None,
    /// It was.
    Reached,
    /// A goal was not, yet.
    NotYet,
    /// A limit was not: that is a defect.
    Missed,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Reached => "ok",
            Self::NotYet => "not yet",
            Self::Missed => "MISSED",
        }
    }
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    figure: String,
    value: f64,
    unit: Unit,
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<(f64, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beside: Option<Beside>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_reach: Option<ToReach>,
}

impl Row {
    /// A figure that was measured once, or computed.
    pub(crate) fn single(figure: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self {
            figure: figure.into(),
            value,
            unit,
            spread: None,
            beside: None,
            to_reach: None,
        }
    }

    /// The median of several measurements, with their spread.
    pub(crate) fn median(figure: impl Into<String>, samples: &Samples, unit: Unit) -> Self {
        Self {
            spread: Some(samples.spread()),
            ..Self::single(figure, samples.median(), unit)
        }
    }

    /// Compared with this, in the same unit.
    pub(crate) fn beside(self, what: &'static str, value: f64) -> Self {
        Self {
            beside: Some(Beside { what, value }),
            ..self
        }
    }

    /// What is to be reached.
    pub(crate) fn reaching(self, to_reach: ToReach) -> Self {
        Self {
            to_reach: Some(to_reach),
            ..self
        }
    }

    /// What it is called.
    pub(crate) fn figure(&self) -> &str {
        &self.figure
    }

    /// How much it is.
    pub(crate) fn value(&self) -> f64 {
        self.value
    }

    /// The figure over what it is compared with.
    fn ratio(&self) -> Option<f64> {
        self.beside
            .as_ref()
            .filter(|beside| beside.value > 0.0)
            .map(|beside| self.value / beside.value)
    }

    fn mark(&self) -> Mark {
        let reached = match self.to_reach {
            None => return Mark::None,
            Some(ToReach::Limit(most)) => {
                return if self.value <= most {
                    Mark::Reached
                } else {
                    Mark::Missed
                };
            }
            Some(ToReach::AtMost(most)) => self.value <= most,
            Some(ToReach::AtLeast(least)) => self.value >= least,
            Some(ToReach::RatioAtMost(most)) => self.ratio().is_some_and(|ratio| ratio <= most),
            Some(ToReach::RatioAtLeast(least)) => self.ratio().is_some_and(|ratio| ratio >= least),
        };
        if reached { Mark::Reached } else { Mark::NotYet }
    }

    fn cells(&self) -> [String; 6] {
        let amount = |value: f64| format!("{} {}", number(value), self.unit.word());
        let value = match self.spread {
            Some((least, most)) => format!(
                "{} [{}-{}]",
                amount(self.value),
                number(least),
                number(most)
            ),
            None => amount(self.value),
        };
        let beside = self
            .beside
            .as_ref()
            .map(|beside| format!("{}: {}", beside.what, amount(beside.value)));
        let ratio = self.ratio().map(|ratio| format!("{ratio:.2}x"));
        let to_reach = self.to_reach.map(|to_reach| match to_reach {
            ToReach::Limit(most) | ToReach::AtMost(most) => format!("at most {}", amount(most)),
            ToReach::AtLeast(least) => format!("at least {}", amount(least)),
            ToReach::RatioAtMost(most) => format!("at most {most:.2}x"),
            ToReach::RatioAtLeast(least) => format!("at least {least:.2}x"),
        });
        [
            self.figure.clone(),
            value,
            beside.unwrap_or_default(),
            ratio.unwrap_or_default(),
            to_reach.unwrap_or_default(),
            self.mark().word().to_owned(),
        ]
    }
}

/// Three digits that count, no more.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Where it ran.
    machine: Machine,
    /// What makes the programs others than those that are shipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) oddities: Vec<String>,
    /// What could not be measured, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    rows: Vec<Marked>,
}

/// A row with what follows from it, so that a program that reads JSON need not judge again.
#[derive(Debug, Serialize)]
struct Marked {
    #[serde(flatten)]
    row: Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    mark: Mark,
}

impl Report {
    /// Without figures yet.
    pub(crate) fn new(machine: Machine, oddities: Vec<String>) -> Self {
        Self {
            machine,
            oddities,
            missing: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// What was had, or else nothing, and the reason is noted: the rest is measured all the same.
    pub(crate) fn or_missing<T>(&mut self, what: &str, had: anyhow::Result<T>) -> Option<T> {
        match had {
            Ok(had) => Some(had),
            Err(error) => {
                let why = format!("{what}: {error:#}");
                if !self.missing.contains(&why) {
                    self.missing.push(why);
                }
                None
            }
        }
    }

    /// Adds figures.
    pub(crate) fn add(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.rows.extend(rows.into_iter().map(|row| Marked {
            ratio: row.ratio(),
            mark: row.mark(),
            row,
        }));
    }

    /// Whether something is over a limit. Goals do not count.
    pub(crate) fn limit_missed(&self) -> bool {
        self.rows.iter().any(|marked| marked.mark == Mark::Missed)
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header(["figure", "measured", "beside", "ratio", "to reach", ""]);
        for marked in &self.rows {
            table.add_row(marked.row.cells());
        }
        for column in [1, 3] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = format!("{}\n\n{table}", self.machine);
        if !self.missing.is_empty() {
            text = format!("{text}\n\nnot measured:\n  {}", self.missing.join("\n  "));
        }
        if !self.oddities.is_empty() {
            text = format!(
                "THESE FIGURES MEAN NOTHING: the programs are not as they are shipped\n  {}\n\n{text}",
                self.oddities.join("\n  ")
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn report(rows: Vec<Row>, oddities: &[&str]) -> Report {
        let oddities = oddities.iter().map(|text| (*text).to_owned()).collect();
        let mut report = Report::new(Machine::for_tests(), oddities);
        report.add(rows);
        report
    }

    #[test]
    fn marks_follow_from_values_and_ratios() {
        let row = || Row::single("x", 12.0, Unit::Ms);
        let compared = || row().beside("floor", 4.0);
        for (row, mark) in [
            (row(), Mark::None),
            (compared(), Mark::None),
            (row().reaching(ToReach::Limit(12.0)), Mark::Reached),
            (row().reaching(ToReach::Limit(11.9)), Mark::Missed),
            (row().reaching(ToReach::AtMost(12.0)), Mark::Reached),
            (row().reaching(ToReach::AtMost(11.9)), Mark::NotYet),
            (row().reaching(ToReach::AtLeast(12.0)), Mark::Reached),
            (row().reaching(ToReach::AtLeast(12.1)), Mark::NotYet),
            (
                compared().reaching(ToReach::RatioAtMost(3.0)),
                Mark::Reached,
            ),
            (compared().reaching(ToReach::RatioAtMost(2.9)), Mark::NotYet),
            (
                compared().reaching(ToReach::RatioAtLeast(3.0)),
                Mark::Reached,
            ),
            (
                compared().reaching(ToReach::RatioAtLeast(3.1)),
                Mark::NotYet,
            ),
            // A goal without anything to compare with, or with a limit of nothing, is not reached.
            (row().reaching(ToReach::RatioAtMost(3.0)), Mark::NotYet),
            (
                row()
                    .beside("floor", 0.0)
                    .reaching(ToReach::RatioAtMost(3.0)),
                Mark::NotYet,
            ),
        ] {
            assert_eq!(row.mark(), mark, "{row:?}");
        }
    }

    #[test]
    fn only_a_missed_limit_is_a_defect() {
        let goal = Row::single("x", 12.0, Unit::Ms)
            .beside("floor", 4.0)
            .reaching(ToReach::RatioAtMost(1.0));
        let limit = Row::single("y", 12.0, Unit::MiB).reaching(ToReach::Limit(10.0));
        assert!(!report(vec![goal.clone()], &[]).limit_missed());
        assert!(report(vec![goal, limit], &[]).limit_missed());
    }

    #[test]
    fn the_table_shows_value_spread_ratio_and_mark() {
        let samples: Samples = [20.0, 10.0, 125.4].into_iter().collect();
        let rows = vec![
            Row::median("a no-op", &samples, Unit::Ms)
                .beside("floor", 8.0)
                .reaching(ToReach::RatioAtMost(2.0)),
            Row::single("the agent", 7.25, Unit::MiB).reaching(ToReach::Limit(12.0)),
        ];
        let table = report(rows, &[]).table();
        let squeezed = table.split_whitespace().collect::<Vec<_>>().join(" ");
        for expected in [
            "| a no-op | 20.0 ms [10.0-125] | floor: 8.00 ms | 2.50x | at most 2.00x | not yet |",
            "| the agent | 7.25 MiB | | | at most 12.0 MiB | ok |",
        ] {
            assert!(squeezed.contains(expected), "{table}");
        }
        assert!(!table.contains("MEAN NOTHING"));
    }

    #[test]
    fn figures_of_other_programs_say_so_first() {
        let report = report(vec![], &["mantle: not stripped"]);
        let table = report.table();
        assert!(table.starts_with("THESE FIGURES MEAN NOTHING"), "{table}");
        assert!(table.contains("mantle: not stripped"), "{table}");
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["oddities"][0], "mantle: not stripped");
    }

    #[test]
    fn json_holds_the_judgement() {
        let row = Row::single("x", 12.0, Unit::MbPerS)
            .beside("raw", 24.0)
            .reaching(ToReach::RatioAtLeast(0.5));
        let json = serde_json::to_value(report(vec![row], &[])).unwrap();
        assert_eq!(json["rows"][0]["ratio"], 0.5);
        assert_eq!(json["rows"][0]["mark"], "reached");
        assert_eq!(json["rows"][0]["unit"], "mb-per-s");
        assert_eq!(json["rows"][0]["to_reach"]["ratio-at-least"], 0.5);
    }
}
