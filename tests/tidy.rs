//! Proves the layout rules of the house style: the repository's files enter, its offenders leave.
//!
//! A rule is a function from files to faults. One test runs it over this repository; another shows,
//! on a table of small texts, that it finds an offender and spares what is right.

// A test looks for its modules beside itself, where each would be a test of its own.
#[path = "tidy/source.rs"]
mod source;

#[path = "tidy/reading_order.rs"]
mod reading_order;

#[path = "tidy/shape.rs"]
mod shape;

#[path = "tidy/bans.rs"]
mod bans;

#[path = "tidy/surroundings.rs"]
mod surroundings;

use source::{File, repository};

/// The folders of the two libraries.
const LIBRARIES: &[&str] = &["src/", "actors/src/"];

type Rule = fn(&[File], &mut Faults);

/// Where each offender is, what is wrong and what to do.
#[derive(Default)]
struct Faults(Vec<(String, usize, String)>);

impl Faults {
    fn add(&mut self, path: &str, line: usize, message: impl Into<String>) {
        self.0.push((path.to_owned(), line, message.into()));
    }

    fn of(rule: Rule, files: &[File]) -> Self {
        let mut faults = Self::default();
        rule(files, &mut faults);
        faults.0.sort();
        faults
    }
}

/// Runs a rule over this repository and lists all offenders.
fn prove(rule: Rule) {
    let Faults(faults) = Faults::of(rule, &repository());
    let written = |(path, line, message)| format!("{path}:{line}: {message}\n");
    let list: String = faults.into_iter().map(written).collect();
    assert!(list.is_empty(), "offenders:\n{list}");
}

/// Puts each text among the files `around` it; expects one fault at its line, or none for line 0.
fn check(rule: Rule, around: &[(&str, &str)], cases: &[(&str, &str, usize)]) {
    for (path, text, line) in cases {
        let others = around.iter().filter(|(other, _)| other != path);
        let mut files: Vec<File> = others.map(|(path, text)| File::new(path, text)).collect();
        files.push(File::new(path, text));
        let Faults(faults) = Faults::of(rule, &files);
        let places = faults.iter().map(|(path, line, _)| (path.as_str(), *line));
        let found: Vec<_> = places.collect();
        let expected = [(*path, *line)];
        assert_eq!(found, expected[usize::from(*line == 0)..], "in {path}: {text}\n{faults:#?}");
    }
}

/// Whether a name is on a list of words with a space between them.
fn is_in(list: &str, name: &str) -> bool {
    list.split(' ').any(|listed| listed == name)
}
