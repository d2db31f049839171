//! The `.env` file: a path enters, its pairs and its faults leave, and the process environment
//! stays as it is.

use std::cell::Cell;
use std::fs;
use std::io::{self, Read};

use super::fault::SettingsFault;

/// Reads the pairs of a file, in their order. A missing file has none.
pub(super) fn read(path: &str) -> (Vec<(String, String)>, Vec<SettingsFault>) {
    match fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), Vec::new()),
        Err(error) => (Vec::new(), vec![unreadable(path, &error)]),
    }
}

fn parse(path: &str, text: &str) -> (Vec<(String, String)>, Vec<SettingsFault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // The parser takes a blank at the very end of a file for an unfinished entry.
    let text = format!("{text}\n");
    let lines_read = Cell::new(0);
    let lines = Lines { rest: text.as_bytes(), lines_read: &lines_read };
    let (mut pairs, mut faults) = (Vec::new(), Vec::new());
    for entry in dotenvy::from_read_iter(lines) {
        match entry {
            Ok(pair) => pairs.push(pair),
            Err(dotenvy::Error::LineParse(entry, _)) => {
                let lines_before_last = entry.lines().count().saturating_sub(1);
                faults.push(SettingsFault::FileMalformed {
                    path: path.to_owned(),
                    line: lines_read.get() - lines_before_last,
                });
            }
            Err(error) => {
                faults.push(unreadable(path, &error));
                break;
            }
        }
    }
    (pairs, faults)
}

fn unreadable(path: &str, error: &dyn std::error::Error) -> SettingsFault {
    SettingsFault::FileUnreadable { path: path.to_owned(), reason: error.to_string() }
}

/// Hands out one line per read and counts them: the parser's errors hold the text of an entry,
/// which may be a secret, and not its place.
struct Lines<'a> {
    rest: &'a [u8],
    lines_read: &'a Cell<usize>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let newline = self.rest.iter().position(|byte| *byte == b'\n');
        let line = newline.map_or(self.rest.len(), |at| at + 1);
        let length = line.min(buffer.len());
        let (now, later) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.rest = later;
        if now.ends_with(b"\n") {
            self.lines_read.set(self.lines_read.get() + 1);
        }
        Ok(length)
    }
}
