//! What can be wrong with settings: values, names and files enter, one printable line per fault
//! leaves.

use std::fmt;

/// Says that settings cannot be used, with every fault found, not only the first.
///
/// Displayed, it is one line per fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.faults))]
#[non_exhaustive]
pub struct SettingsError {
    /// The faults: first those of the `.env` file, then of values, then of unknown names.
    pub faults: Vec<SettingsFault>,
}

/// One thing wrong with the settings.
///
/// A value is shown only where it cannot hold a secret: never a DSN's, nor that of an unknown name,
/// which may be a misspelt DSN, nor a line of the `.env` file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsFault {
    /// A variable is set to nothing, or to blanks only.
    #[error("{name} is \"\" ({origin}), expected {expected}: unset it or give a value")]
    Blank {
        /// The variable.
        name: &'static str,
        /// Where its value came from.
        origin: SettingsOrigin,
        /// What a value looks like.
        expected: String,
    },
    /// A value has the wrong form, or is out of its limits.
    #[error("{name} is {value:?} ({origin}), expected {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// The value as it was written.
        value: String,
        /// Where it came from.
        origin: SettingsOrigin,
        /// What a value looks like.
        expected: String,
    },
    /// A secret value has the wrong form.
    #[error("{name} has a value that is not shown ({origin}), expected {expected}")]
    InvalidSecret {
        /// The variable.
        name: &'static str,
        /// Where its value came from.
        origin: SettingsOrigin,
        /// What a value looks like.
        expected: String,
    },
    /// A value is not UTF-8.
    #[error("{name} is not UTF-8 ({origin}), expected {expected}")]
    NotUtf8 {
        /// The variable.
        name: &'static str,
        /// Where its value came from.
        origin: SettingsOrigin,
        /// What a value looks like.
        expected: String,
    },
    /// Two values are right alone and wrong together.
    #[error(
        "{name} is {value:?} ({origin}), expected {relation} {other}, \
         which is {other_value:?} ({other_origin})"
    )]
    Conflict {
        /// The first variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// Where it came from.
        origin: SettingsOrigin,
        /// What the first value has to be to the other: `at most`, `more than`.
        relation: &'static str,
        /// The other variable.
        other: &'static str,
        /// Its value.
        other_value: String,
        /// Where it came from.
        other_origin: SettingsOrigin,
    },
    /// A value is right alone and has no place beside the others, or not without them.
    #[error("{name} is set ({origin}), but {problem}")]
    Misplaced {
        /// The variable.
        name: &'static str,
        /// Where its value came from.
        origin: SettingsOrigin,
        /// What is wrong with the whole, and what to do.
        problem: &'static str,
    },
    /// A name is in one of the groups (`DB_`, `WS_`, …) and is no setting.
    #[error("{} ({origin}) is not a setting, {}", .name.escape_debug(), advice(name, *.suggestion))]
    Unknown {
        /// The name as it was written.
        name: String,
        /// Where it came from.
        origin: SettingsOrigin,
        /// The setting that was probably meant.
        suggestion: Option<&'static str>,
    },
    /// The `.env` file is there and cannot be read.
    #[error("{path} cannot be read, expected a UTF-8 text file or none: {reason}")]
    FileUnreadable {
        /// The file.
        path: String,
        /// Why, in the words of the operating system.
        reason: String,
    },
    /// A line of the `.env` file cannot be understood.
    #[error(
        "line {line} of {path} is not understood, \
         expected NAME=value, with quotes around a value that holds spaces"
    )]
    FileMalformed {
        /// The file.
        path: String,
        /// The line, counted from 1; of an entry over several lines, its first.
        line: usize,
    },
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsOrigin {
    /// The environment of the process.
    Environment,
    /// The `.env` file in the working directory.
    EnvFile,
    /// A default: built in, or the application's own.
    Default,
    /// The caller of [`Settings::from_vars`](super::Settings::from_vars).
    Given,
}

impl fmt::Display for SettingsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::EnvFile => ".env",
            Self::Default => "default",
            Self::Given => "given",
        })
    }
}

fn lines(faults: &[SettingsFault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn advice(name: &str, suggestion: Option<&str>) -> String {
    let group = name.split_once('_').map_or(name, |(group, _)| group);
    match suggestion {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("names that start with {group}_ are reserved: rename or unset it"),
    }
}
