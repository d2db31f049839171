//! Measures callboard beside bare actix, kameo, ractor and channels: a table's name enters, figures
//! and whether targets are met leave.
//!
//! ```sh
//! cargo run --release --manifest-path tests/bench/Cargo.toml -- bus|http|ws|idle|all [--json] [--quick]
//! cargo run --release --manifest-path tests/bench/Cargo.toml -- repeat <work> <times>
//! ```
//!
//! `repeat` does one piece of callboard's own work over and over, for a profiler. How the figures
//! come about and how to read them: `src/docs/performance.md`.

use std::env;
use std::process::ExitCode;

mod failure;
mod machine;
mod work;
mod round;
mod report;
mod peers;
mod stage;
mod names;
mod bus;
mod load;
mod wire;
mod serve;
mod child;
mod http;
mod ws;
mod idle;

use failure::Failure;
use report::Report;
use round::Pace;

const USAGE: &str = "bus|http|ws|idle|all [--json] [--quick], or repeat <work> <times>";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words {
        ["serve", what] => return serve::serve(what),
        ["repeat", work, times] => {
            let times = times.parse().map_err(|_| Failure::Usage(USAGE))?;
            return bus::repeat(work, times);
        }
        _ => {}
    }
    let (flags, tables): (Vec<&str>, Vec<&str>) =
        words.into_iter().partition(|word| word.starts_with("--"));
    let is_quick = flags.contains(&"--quick");
    if flags.iter().any(|flag| !matches!(*flag, "--quick" | "--json")) {
        return Err(Failure::Usage(USAGE));
    }
    if cfg!(debug_assertions) && !is_quick {
        return Err(Failure::DevBuild);
    }
    let [table] = *tables else { return Err(Failure::Usage(USAGE)) };
    let report = measure(table, Pace::new(is_quick))?;
    if flags.contains(&"--json") {
        report.print_json();
    } else {
        report.print();
    }
    Ok(())
}

/// Adds rows and targets to a report.
type Measure = fn(Pace, &mut Report) -> Result<(), Failure>;

/// The tables, in the order of a report. The bus is the last: its systems leave threads behind, which
/// would be in the way of the load.
const TABLES: [(&str, Measure); 4] =
    [("http", http::measure), ("ws", ws::measure), ("idle", idle::measure), ("bus", bus::measure)];

fn measure(table: &str, pace: Pace) -> Result<Report, Failure> {
    let wanted = |(name, _): &&(&str, Measure)| table == "all" || table == *name;
    let mut tables = TABLES.iter().filter(wanted).peekable();
    tables.peek().ok_or(Failure::Usage(USAGE))?;
    machine::raise_file_limit();
    // The load and the same-thread cases share one core, servers and other threads have the other.
    machine::pin(machine::HOME);
    let mut report = Report::default();
    for (_, measure) in tables {
        measure(pace, &mut report)?;
    }
    Ok(report)
}
