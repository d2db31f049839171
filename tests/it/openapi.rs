//! The description of the demonstration application: what it says, that it is sound, and that the
//! application keeps to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::Program;

/// How many requests each route gets at most from the tester of descriptions.
const EXAMPLES_MAX: &str = "20";

fn shop(folder: &TempDir) -> Program {
    // A quote of high complexity is given up soon.
    let vars =
        [("LOG_LEVEL", "info"), ("SERVER_REQUEST_TIMEOUT", "1"), ("BUS_HANDLER_TIMEOUT", "1")];
    Program::start("shop", folder.path(), &vars)
}

fn beside_this_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/openapi").join(name)
}

/// Runs a tool; none, aloud, where it is not installed.
fn run(tool: &str, command: impl FnOnce(&mut Command)) -> Option<Output> {
    let mut tool_command = Command::new(tool);
    command(&mut tool_command);
    match tool_command.output() {
        Ok(output) => Some(output),
        Err(error) if std::env::var_os("CALLBOARD_REQUIRE_SERVICES").is_some() => {
            panic!("{tool} is required: {error}")
        }
        Err(error) => {
            eprintln!("SKIPPED: {tool} is not installed ({error})");
            None
        }
    }
}

#[track_caller]
fn assert_success(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (told, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}\n{complained}");
}

/// With `CALLBOARD_OVERWRITE=1` the file is written anew.
#[actix_web::test]
async fn the_shop_is_described_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (status, document) = shop(&folder).get("/openapi.json").await;
    assert_eq!(status, 200);
    let path = beside_this_file("shop.json");
    if std::env::var_os("CALLBOARD_OVERWRITE").is_some() {
        let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
        fs::write(&path, text).unwrap();
    }
    let known: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let keys = |of: &Value, part: &str| {
        let part = of.pointer(part).and_then(Value::as_object).unwrap();
        part.keys().cloned().collect::<Vec<_>>()
    };
    for part in ["/paths", "/components/schemas", "/components/responses"] {
        assert_eq!(keys(&document, part), keys(&known, part));
        for (name, described) in document.pointer(part).unwrap().as_object().unwrap() {
            assert_eq!(described, &known.pointer(part).unwrap()[name], "{part} {name}");
        }
    }
    assert_eq!(document, known);
}

#[test]
fn the_description_is_sound() {
    let document = beside_this_file("shop.json");
    if let Some(output) = run("openapi-spec-validator", |command| {
        command.arg(document);
    }) {
        assert_success(&output);
    }
}

#[test]
fn the_shop_keeps_to_its_description() {
    let folder = tempfile::tempdir().unwrap();
    let shop = shop(&folder);
    let output = run("st", |command| {
        command.current_dir(folder.path()).arg("--config-file");
        command
            .arg(beside_this_file("schemathesis.toml"))
            .args(["run", &shop.url("/openapi.json")]);
        command.args(["--checks", "all", "--max-examples", EXAMPLES_MAX, "--seed", "1"]);
        command.args(["--no-color", "--warnings", "off"]);
    });
    if let Some(output) = output {
        assert_success(&output);
    }
}
