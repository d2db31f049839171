//! What comes out: rows by table and case, and targets that are met or not, as text or as JSON.
#![allow(clippy::print_stdout)] // the report is what this program is for

use serde::Serialize;

use crate::round::Lap;

/// What one system took for one piece of work. The keys are stable; what was not measured is null.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Row {
    pub(crate) table: &'static str,
    pub(crate) case: String,
    pub(crate) system: &'static str,
    pub(crate) ns_per_op: Option<f64>,
    pub(crate) ops_per_s: Option<f64>,
    /// callboard's time by this system's: below 1 callboard is the faster one.
    pub(crate) ratio: Option<f64>,
    pub(crate) p50_ns: Option<f64>,
    pub(crate) p99_ns: Option<f64>,
    pub(crate) rss_bytes: Option<u64>,
    /// Processor time of the server.
    pub(crate) cpu_ns_per_op: Option<f64>,
}

/// What a figure is to reach.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) value: Option<f64>,
    pub(crate) limit: f64,
    /// Whether the limit is the most or the least that is allowed.
    pub(crate) is_most: bool,
    pub(crate) is_met: bool,
}

impl Target {
    pub(crate) fn at_most(name: impl Into<String>, value: Option<f64>, limit: f64) -> Self {
        let is_met = value.is_some_and(|value| value <= limit);
        Self { name: name.into(), value, limit, is_most: true, is_met }
    }

    pub(crate) fn at_least(name: impl Into<String>, value: Option<f64>, limit: f64) -> Self {
        let is_met = value.is_some_and(|value| value >= limit);
        Self { name: name.into(), value, limit, is_most: false, is_met }
    }
}

/// All that was measured.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) targets: Vec<Target>,
}

impl Report {
    /// Adds the laps of a race; `ours` is the system that the others are compared with.
    pub(crate) fn add(
        &mut self,
        table: &'static str,
        case: &str,
        ours: &'static str,
        laps: Vec<Lap>,
    ) {
        let own = laps.iter().find(|lap| lap.system == ours).map(|lap| lap.ns);
        self.rows.extend(laps.into_iter().map(|lap| Row {
            table,
            case: case.to_owned(),
            system: lap.system,
            ns_per_op: Some(lap.ns),
            ops_per_s: Some(1e9 / lap.ns),
            ratio: own.map(|own| own / lap.ns),
            p50_ns: lap.p50_ns,
            p99_ns: lap.p99_ns,
            ..Row::default()
        }));
    }

    pub(crate) fn row(&self, case: &str, system: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.case == case && row.system == system)
    }

    pub(crate) fn row_mut(&mut self, case: &str, system: &str) -> Option<&mut Row> {
        self.rows.iter_mut().find(|row| row.case == case && row.system == system)
    }

    pub(crate) fn ns(&self, case: &str, system: &str) -> Option<f64> {
        self.row(case, system)?.ns_per_op
    }

    pub(crate) fn ratio(&self, case: &str, system: &str) -> Option<f64> {
        self.row(case, system)?.ratio
    }

    /// Prints a line of JSON.
    pub(crate) fn print_json(&self) {
        // Only names and numbers: nothing of it can fail.
        println!("{}", serde_json::to_string(self).unwrap_or_default());
    }

    /// Prints tables for people, in Markdown.
    pub(crate) fn print(&self) {
        let mut table = "";
        for row in &self.rows {
            if row.table != table {
                table = row.table;
                println!("\n### {table}\n");
                println!(
                    "| work | system | ns/op | ops/s | callboard ÷ it | p50 µs | p99 µs | RSS MB \
                     | CPU ns/op |"
                );
                println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
            }
            println!("{}", row.line());
        }
        println!("\n### targets\n\n| target | value | limit | |\n|---|---:|---:|---|");
        for target in &self.targets {
            let sign = if target.is_most { "≤" } else { "≥" };
            let met = if target.is_met { "met" } else { "**not met**" };
            let value = figure(target.value, 1.0, 2);
            println!("| {} | {value} | {sign} {} | {met} |", target.name, target.limit);
        }
    }
}

impl Row {
    fn line(&self) -> String {
        let rss = self.rss_bytes.map(crate::round::to_f64);
        [
            self.case.clone(),
            self.system.to_owned(),
            figure(self.ns_per_op, 1.0, 0),
            figure(self.ops_per_s, 1.0, 0),
            figure(self.ratio, 1.0, 2),
            figure(self.p50_ns, 1e3, 2),
            figure(self.p99_ns, 1e3, 2),
            figure(rss, 1e6, 1),
            figure(self.cpu_ns_per_op, 1.0, 0),
        ]
        .iter()
        .fold("|".to_owned(), |line, cell| line + " " + cell + " |")
    }
}

fn figure(value: Option<f64>, unit: f64, decimals: usize) -> String {
    value.map_or_else(String::new, |value| format!("{:.decimals$}", value / unit))
}
