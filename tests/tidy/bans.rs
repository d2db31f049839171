//! What is never written: a crate above its layer, a call that hides a failure, unfinished work.

use crate::source::File;
use crate::{Faults, LIBRARIES, check, is_in, prove};

const SQL: &str = "diesel diesel-async diesel_migrations";
const OUTSIDE: &str = "actix-web actix-http actix-web-actors awc reqwest hyper async-nats \
    diesel diesel-async diesel_migrations libsqlite3-sys tokio-postgres";
/// How the paths of a layer's files begin, and the crates that it may not name.
const LAYERS: [(&str, &str); 4] =
    [("actors/src/", OUTSIDE), ("src/ws", SQL), ("src/http", SQL), ("src/db", "actix-web")];
/// Tokens in a row, where they are banned, whether tests may have them, and why.
#[rustfmt::skip] // A table.
const BANS: [(&str, &[&str], bool, &str); 5] = [
    ("do_send (", LIBRARIES, false, "ignores the mailbox limit; use `try_send` or `send`"),
    (". unwrap ( )", LIBRARIES, true, "gives no reason; return an error or `expect` an invariant"),
    ("todo !", &[""], false, "is unfinished; finish it or take it out"),
    ("unimplemented !", &[""], false, "is unfinished; finish it or take it out"),
    ("# [ ignore", &[""], false, "is a test that nobody runs; repair it or delete it"),
];
/// Where nothing sleeps; an example may.
const AWAKE: &[&str] = &["src/", "actors/src/", "tests/", "actors/tests/"];
/// In two parts, or this file would be an offender.
const MARKS: &str = concat!("TO", "DO FIX", "ME XX", "X");

// ---- a layer knows only what is below it ----

fn layers(files: &[File], faults: &mut Faults) {
    for file in files {
        if file.path == "actors/Cargo.toml" {
            check_manifest(file, faults);
        }
        for (start, crates) in LAYERS {
            if file.path.starts_with(start) {
                check_crates(file, &crates.replace('-', "_"), faults);
            }
        }
    }
}

fn check_crates(file: &File, banned: &str, faults: &mut Faults) {
    for used in &file.references {
        let name = &used.segments[0];
        if is_in(banned, name) {
            let message = format!("`{name}` is not for this layer; move what needs it");
            faults.add(&file.path, used.line, message);
        }
    }
}

fn check_manifest(file: &File, faults: &mut Faults) {
    let manifest = file.text.parse();
    let manifest = manifest.unwrap_or_else(|error| panic!("{}: {error}", file.path));
    let mut names = dependencies(&manifest);
    names.retain(|name| is_in(OUTSIDE, name));
    for name in names {
        let lines = file.text.lines();
        let above = lines.take_while(|line| !line.contains(&name));
        let message = format!("`{name}` is of the world outside; move what needs it to `src/`");
        faults.add(&file.path, above.count() + 1, message);
    }
}

/// The packages that come along with the crate on any target, by their real names.
fn dependencies(table: &toml::Table) -> Vec<String> {
    let package = |value: &toml::Value| Some(value.get("package")?.as_str()?.to_owned());
    let mut names = Vec::new();
    for (key, value) in table {
        for (name, value) in value.as_table().into_iter().flatten() {
            match (key.as_str(), value.as_table()) {
                ("dependencies" | "build-dependencies", _) => {
                    names.push(package(value).unwrap_or_else(|| name.clone()));
                }
                ("target", Some(target)) => names.extend(dependencies(target)),
                _ => {}
            }
        }
    }
    names
}

#[test]
fn layers_know_only_what_is_below_them() {
    prove(layers);
}

#[test]
#[rustfmt::skip] // A table.
fn layer_checker_finds_a_dependency_and_a_use() {
    check(layers, &[], &[
        ("actors/Cargo.toml", "[dependencies]\nactix = \"0\"\nawc = \"3\"", 3),
        ("actors/Cargo.toml", "[dependencies]\nweb = { package = \"actix-web\" }", 2),
        ("actors/Cargo.toml", "[target.'cfg(unix)'.dependencies]\nhyper.workspace = true", 2),
        ("actors/Cargo.toml", "[dev-dependencies]\nreqwest = \"1\"", 0),
        ("Cargo.toml", "[dependencies]\nhyper = \"1\"", 0),
        ("actors/src/a.rs", "use {actix::Actor,\nasync_nats};", 2),
        ("src/ws/a.rs", "fn f() { ::diesel::insert() }", 1),
        ("src/http.rs", "use diesel_async::A as B;", 1),
        ("src/db/a.rs", "type A = Vec<actix_web::App>;", 1),
        ("src/db.rs", "use diesel::A; // actix_web::B", 0),
    ]);
}

// ---- what is never written ----

fn banned_code(files: &[File], faults: &mut Faults) {
    for file in files.iter().filter(|file| file.is_rust) {
        check_tokens(file, faults);
        check_marks(file, faults);
        for used in file.references.iter().filter(|_| file.is_under(AWAKE)) {
            if used.segments.join("::").ends_with("thread::sleep") {
                let message = "`thread::sleep` guesses; wait for the event or pause the clock";
                faults.add(&file.path, used.line, message);
            }
        }
    }
}

fn check_tokens(file: &File, faults: &mut Faults) {
    for (tokens, _, may_test, why) in BANS.iter().filter(|ban| file.is_under(ban.1)) {
        for line in file.find(tokens).into_iter().map(|at| file.line(at)) {
            if !(*may_test && file.is_test(line)) {
                let message = format!("`{}` {why}", tokens.replace(' ', ""));
                faults.add(&file.path, line, message);
            }
        }
    }
}

/// Comments count here: they are where promises are made.
fn check_marks(file: &File, faults: &mut Faults) {
    for (line, text) in (1..).zip(file.text.lines()) {
        let mut words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(mark) = words.find(|word| is_in(MARKS, word)) {
            let message = format!("`{mark}` is a promise; keep it or open an issue");
            faults.add(&file.path, line, message);
        }
    }
}

#[test]
fn banned_code_is_absent() {
    prove(banned_code);
}

#[test]
#[rustfmt::skip] // A table.
fn ban_checker_finds_each_banned_thing() {
    check(banned_code, &[], &[
        ("src/a.rs", "fn f() {\na.do_send(b) }", 2),
        ("src/a.rs", "fn f() { a\n.unwrap() }", 2),
        ("src/a.rs", "fn f() { vec![a.unwrap()] }", 1),
        ("src/a.rs", "#[cfg(test)] mod tests { fn f() { a.unwrap() } }", 0),
        ("src/a.rs", "/// `a.unwrap()` todo!()\nfn f() { g(\"a.do_send(b)\"); a.unwrap_or(b) }", 0),
        ("examples/a.rs", "fn f() { todo!() }", 1),
        ("examples/a.rs", "fn f() { unimplemented!(\"a\") }", 1),
        ("actors/tests/a.rs", "#[ignore = \"slow\"] fn f() {}", 1),
        ("tests/a.rs", "use std::thread::{self,\nsleep};", 2),
        ("src/a.rs", "fn f() { std::thread::sleep(a) }", 1),
        ("src/a.rs", "use tokio::time::sleep;", 0),
        ("tests/a.rs", &format!("\n// {}: later", &MARKS[..4]), 2),
        ("tests/a.rs", &format!("// {}S", &MARKS[..4]), 0),
    ]);
}
