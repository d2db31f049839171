//! The shape of a Rust file: its opening sentence, its names, its length, and `lib.rs` as a map.

use crate::reading_order::module;
use crate::source::{File, Reference};
use crate::{Faults, LIBRARIES, check, is_in, prove};

const FILE_LINES_MAX: usize = 450;
const FUNCTION_LINES_MAX: usize = 70;
const PRELUDE_NAMES_MAX: usize = 10;
const VAGUE: &str = "utils util common helpers helper manager misc";

// ---- a file opens with a sentence ----

fn opening_sentence(files: &[File], faults: &mut Faults) {
    for file in files.iter().filter(|file| file.is_rust) {
        let lines = file.text.lines().map_while(|line| line.strip_prefix("//!"));
        let lines = lines.map(str::trim).take_while(|line| !line.is_empty());
        let paragraph = lines.collect::<Vec<_>>().join(" ");
        if !paragraph.ends_with('.') && !paragraph.contains(". ") {
            let message = "opens without a `//!` sentence; say what it is for, with a full stop";
            faults.add(&file.path, 1, message);
        }
    }
}

#[test]
fn files_open_with_a_sentence() {
    prove(opening_sentence);
}

#[test]
#[rustfmt::skip] // A table.
fn opening_checker_finds_a_file_without_a_sentence() {
    check(opening_sentence, &[], &[
        ("src/a.rs", "", 1),
        ("src/a.rs", "use a::b;", 1),
        ("src/a.rs", "//! # Title\n//!\n//! Too late.", 1),
        ("src/a.rs", "\n//! Not first.", 1),
        ("src/a.rs", "/// Of an item.\nfn f() {}", 1),
        ("src/a.rs", "//! No stop", 1),
        ("src/a.rs", "//! Over two\n//! lines. And on", 0),
        ("tests/ui/a.rs", "", 0),
    ]);
}

// ---- names say what is inside ----

fn telling_names(files: &[File], faults: &mut Faults) {
    for file in files.iter().filter(|file| file.is_rust) {
        let parts = file.path.trim_end_matches(".rs").split('/');
        let modules = file.modules.iter();
        let modules = modules.map(|module| (module.name.as_str(), module.line));
        let names = parts.map(|part| (part, 1)).chain(modules);
        for (name, line) in names.filter(|(name, _)| is_in(VAGUE, name)) {
            let message = format!("`{name}` says nothing; name what is inside");
            faults.add(&file.path, line, message);
        }
        if file.path.ends_with("/mod.rs") {
            let message = "is a `mod.rs`; name it after its module, beside the folder";
            faults.add(&file.path, 1, message);
        }
    }
}

#[test]
fn names_say_what_is_inside() {
    prove(telling_names);
}

#[test]
#[rustfmt::skip] // A table.
fn name_checker_finds_a_vague_name() {
    check(telling_names, &[], &[
        ("tests/it/common/db.rs", "", 1),
        ("src/helpers.rs", "", 1),
        ("src/ws/mod.rs", "", 1),
        ("src/a.rs", "\nmod util {}", 2),
        ("src/commonplace.rs", "mod utility;", 0),
    ]);
}

// ---- files and functions are short ----

fn short_code(files: &[File], faults: &mut Faults) {
    for file in files.iter().filter(|file| file.is_rust) {
        let lines = 1..=file.text.lines().count();
        let lines = lines.filter(|line| !file.is_test(*line)).count();
        if lines > FILE_LINES_MAX && file.is_under(LIBRARIES) {
            let message = format!("has {lines} lines, at most {FILE_LINES_MAX}; split off a noun");
            faults.add(&file.path, 1, message);
        }
        for at in file.find("fn") {
            let (name, open) = (file.word(at + 1), file.body(at));
            let lines = file.line(file.after(open) - 1) - file.line(open);
            // `fn(` is a type.
            if lines > FUNCTION_LINES_MAX + 1 && name != "(" {
                let message =
                    format!("`{name}` is over {FUNCTION_LINES_MAX} lines; name its steps");
                faults.add(&file.path, file.line(at), message);
            }
        }
    }
}

#[test]
fn files_and_functions_are_short() {
    prove(short_code);
}

#[test]
#[rustfmt::skip] // A table.
fn length_checker_finds_a_long_file_and_a_long_function() {
    let long = "\n".repeat(FILE_LINES_MAX + 1);
    let function = |lines| format!("\nfn f(t: [u8; 2]) {{\n{}}}", "f();\n".repeat(lines));
    check(short_code, &[], &[
        ("src/a.rs", &long, 1),
        ("src/a.rs", &long[1..], 0),
        ("tests/a.rs", &long, 0),
        ("src/a.rs", &format!("#[cfg(test)] mod tests {{{long}}}"), 0),
        ("tests/a.rs", &function(71), 2),
        ("tests/a.rs", &format!("suite! {{{}}}", function(71)), 2),
        ("tests/a.rs", &function(70), 0),
    ]);
}

// ---- lib.rs is a map ----

fn map(files: &[File], faults: &mut Faults) {
    for file in files {
        let mut libraries = LIBRARIES.iter();
        let module = libraries.find_map(|folder| module(folder, &file.path));
        match module.as_deref() {
            Some([]) => check_map(file, faults),
            Some([name]) if name == "prelude" => check_prelude(file, &file.references, faults),
            _ => {}
        }
    }
}

fn check_map(file: &File, faults: &mut Faults) {
    let mut at = 0;
    while !file.word(at).is_empty() {
        at = match [0, 1, 2, 3].map(|i| file.word(at + i)) {
            ["#", "!", ..] => file.after(at + 2),
            ["#", ..] => file.after(at + 1),
            ["pub", "(", "crate", ")"] if file.word(at + 4) == "mod" => at + 4,
            // An empty module carries only docs, such as the README whose example is tested.
            ["mod", _, ";", _]
            | ["mod", _, "{", "}"]
            | ["pub", "mod", _, ";"]
            | ["pub", "use", ..] => file.end(at) + 1,
            // Goes inside, where the same is allowed, and out again.
            ["pub", "mod", "prelude", "{"] => at + 4,
            ["}", ..] => at + 1,
            _ => {
                let message = "is code in a map; keep `mod` and `pub use`, give the rest a file";
                faults.add(&file.path, file.line(at), message);
                file.end(at) + 1
            }
        };
    }
    let references = file.references.iter();
    let names = references.filter(|used| used.inside == ["prelude"]);
    check_prelude(file, names, faults);
}

fn check_prelude<'a>(
    file: &File,
    references: impl IntoIterator<Item = &'a Reference>,
    faults: &mut Faults,
) {
    let names: Vec<_> = references.into_iter().filter(|used| used.is_use).collect();
    if let Some(extra) = names.get(PRELUDE_NAMES_MAX) {
        let message = format!("is a name too many, at most {PRELUDE_NAMES_MAX} in a prelude");
        faults.add(&file.path, extra.line, message);
    }
    for glob in names.iter().filter(|used| used.name == "*") {
        let message = "`*` hides how many names it brings; list them";
        faults.add(&file.path, glob.line, message);
    }
}

#[test]
fn lib_is_a_map() {
    prove(map);
}

#[test]
#[rustfmt::skip] // A table.
fn map_checker_finds_code_and_a_crowded_prelude() {
    let names = |count| "N,\n".repeat(count);
    let prelude = |count| format!("pub mod prelude {{ pub use a::{{\n{}}}; }}", names(count));
    check(map, &[], &[
        ("src/lib.rs", "mod a;\nfn f() {}\nmod b;", 2),
        ("src/lib.rs", "pub use a::{A, B};\nuse a::C;", 2),
        ("src/lib.rs", "mod a { fn f() {} }", 1),
        ("src/lib.rs", "pub mod prelude {\nfn f() {} }", 2),
        ("src/lib.rs", "//! Map.\n#![warn(x)]\npub struct S;", 3),
        ("src/lib.rs", &prelude(11), 12),
        ("src/lib.rs", &prelude(10), 0),
        ("src/prelude.rs", "pub use crate::a::*;", 1),
        ("actors/src/lib.rs", "#![a]\n#[b] pub mod a; pub(crate) mod b; pub use b::{A, B};", 0),
        ("src/a.rs", "fn f() {}", 0),
    ]);
}
