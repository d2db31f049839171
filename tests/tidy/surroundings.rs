//! What stands around the code: short documents, no path of one machine, nothing stray at the top.

use crate::source::File;
use crate::{Faults, check, is_in, prove};

/// The documents that must exist, and how many lines each may have.
const DOCUMENTS: [(&str, usize); 2] = [("README.md", 200), ("src/ARCHITECTURE.md", 150)];
/// `.env` is missing on purpose: git must ignore it.
const TOP_LEVEL: &str = "src actors examples tests README.md CHANGELOG.md LICENSE-MIT \
    LICENSE-APACHE Cargo.toml Cargo.lock deny.toml rust-toolchain.toml clippy.toml .clippy.toml \
    rustfmt.toml .rustfmt.toml .cargo .config .ci .github .gitignore";

// ---- documents are short, and no file knows a machine ----

fn documents(files: &[File], faults: &mut Faults) {
    for (path, lines_max) in DOCUMENTS {
        match files.iter().find(|file| file.path == path) {
            None => faults.add(path, 1, "is missing; write it"),
            Some(file) if file.text.lines().count() > lines_max => {
                let message = format!("is a line too many, at most {lines_max}; shorten it");
                faults.add(path, lines_max + 1, message);
            }
            Some(_) => {}
        }
    }
}

fn machine_paths(files: &[File], faults: &mut Faults) {
    for file in files.iter().filter(|file| file.path != "Cargo.lock") {
        for (line, text) in (1..).zip(file.text.lines()) {
            if names_a_machine(text) {
                let message = "has a path of one machine; write it from the repository's root";
                faults.add(&file.path, line, message);
            }
        }
    }
}

fn names_a_machine(text: &str) -> bool {
    // Behind one of these a path goes on and does not begin.
    let goes_on = |c: char| c.is_alphanumeric() || "_.})".contains(c);
    ["root", "work", "tmp", "home"].iter().any(|folder| {
        let folder = format!("/{folder}/");
        let mut places = text.match_indices(&folder);
        places.any(|(at, _)| {
            let (before, after) = (&text[..at], &text[at + folder.len()..]);
            !before.ends_with(goes_on) && (!folder.contains("home") || starts_with_user(after))
        })
    })
}

fn starts_with_user(text: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || "_.-".contains(c);
    text.starts_with(is_name) && text.trim_start_matches(is_name).starts_with('/')
}

#[test]
fn documents_exist_and_are_short() {
    prove(documents);
}

#[test]
fn no_file_knows_a_machine() {
    prove(machine_paths);
}

#[test]
fn document_checker_finds_a_missing_and_a_long_one() {
    let long = "\n".repeat(201);
    let both = [("README.md", ""), ("src/ARCHITECTURE.md", "")];
    let Faults(missing) = Faults::of(documents, &[]);
    assert_eq!(missing.len(), both.len());
    let cases = [("README.md", long.as_str(), 201), ("README.md", &long[1..], 0)];
    check(documents, &both, &cases);
}

#[test]
fn machine_checker_finds_a_path() {
    for folder in ["root", "work", "tmp", "home/ann"] {
        for (before, line) in [("cd ", 2), ("=", 2), (":/", 2), ("a", 0), (".", 0)] {
            let text = format!("\n{before}/{folder}/a");
            let cases = [(".ci/run.sh", text.as_str(), line), ("Cargo.lock", &text, 0)];
            check(machine_paths, &[], &cases);
        }
    }
    let routes = [("README.md", "GET /home/ and /homework/a/", 0)];
    check(machine_paths, &[], &routes);
}

// ---- the README's example is the one that runs ----

const README_EXAMPLE: &str = "examples/hello.rs";

/// The README may set the example tighter than rustfmt does.
fn readme_example(files: &[File], faults: &mut Faults) {
    let text = |path| files.iter().find(|file| file.path == path).map_or("", |file| &file.text);
    let block = text("README.md").split("```rust,no_run\n").nth(1).unwrap_or_default();
    let shown = block.split("```").next().unwrap_or_default();
    let code = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("//!"));
        let dense: String = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
        dense.replace(",}", "}")
    };
    if code(shown) != code(text(README_EXAMPLE)) {
        let message = format!("its first example is not {README_EXAMPLE}; copy it");
        faults.add("README.md", 1, message);
    }
}

#[test]
fn readme_shows_the_example_that_runs() {
    prove(readme_example);
}

#[test]
fn readme_checker_finds_a_difference() {
    let example = [(README_EXAMPLE, "//! Says hello.\nstruct A {\n    b: C,\n}\n")];
    let readme = |code: &str| format!("# x\n```rust,no_run\n{code}\n```\n");
    let (same, other) = (readme("struct A { b: C }"), readme("struct A { c: C }"));
    check(readme_example, &example, &[("README.md", &same, 0), ("README.md", &other, 1)]);
}

// ---- the top level holds nothing stray ----

/// What git ignores is not among the files.
fn top_level(files: &[File], faults: &mut Faults) {
    for file in files {
        let name = file.path.split('/').next().unwrap_or_default();
        if !is_in(TOP_LEVEL, name) {
            let message = format!("`{name}` is stray at the top; move it or let git ignore it");
            faults.add(&file.path, 1, message);
        }
    }
}

#[test]
fn top_level_holds_nothing_stray() {
    prove(top_level);
}

#[test]
fn top_level_checker_finds_a_stray() {
    let strays = [("NOTES.md", "", 1), ("scripts/a.sh", "", 1), (".env", "", 1)];
    check(top_level, &[("src/lib.rs", "")], &strays);
    let known = [("deny.toml", "", 0), (".ci/run.sh", "", 0)];
    check(top_level, &[], &known);
}
