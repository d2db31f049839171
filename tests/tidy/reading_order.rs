//! Reading order is dependency order: a file uses only what is declared above it.

use crate::source::{File, Reference};
use crate::{Faults, LIBRARIES, check, prove};
use std::collections::{BTreeMap, HashMap};

/// The names from the root of a library to a module, or to a thing in it.
type Names = Vec<String>;

struct Library<'a> {
    files: BTreeMap<Names, &'a File>,
    /// Where a thing is written, by the second path that a `use` gives it.
    aliases: HashMap<Names, Names>,
}

/// `src/store/memory.rs` is `store::memory`, `src/lib.rs` is `[]`; a program has no place.
pub(crate) fn module(folder: &str, path: &str) -> Option<Names> {
    let stem = path.strip_prefix(folder)?.strip_suffix(".rs")?;
    let is_program = stem == "main" || stem.starts_with("bin/");
    let names = stem.split('/').filter(|_| stem != "lib").map(str::to_owned);
    (!is_program).then(|| names.collect())
}

fn reading_order(files: &[File], faults: &mut Faults) {
    for folder in LIBRARIES {
        let library = Library::new(folder, files);
        for (module, file) in &library.files {
            library.check_place(module, file, faults);
            let in_code = |used: &&Reference| !file.is_test(used.line);
            for used in file.references.iter().filter(in_code) {
                if let Some(message) = library.wrong_use(module, used) {
                    faults.add(&file.path, used.line, message);
                }
            }
        }
    }
}

impl<'a> Library<'a> {
    fn new(folder: &str, files: &'a [File]) -> Self {
        let own = files.iter().filter_map(|file| Some((module(folder, &file.path)?, file)));
        let mut library = Self { files: own.collect(), aliases: HashMap::new() };
        for (module, file) in library.files.clone() {
            library.read_aliases(&module, file);
        }
        library
    }

    fn read_aliases(&mut self, module: &[String], file: &File) {
        for used in file.references.iter().filter(|used| used.is_use && used.inside.is_empty()) {
            let is_module = self.children(module).contains(&&used.name);
            if is_module || used.name == "*" || file.is_test(used.line) {
                continue;
            }
            if let Some(target) = self.written_path(module, used) {
                let alias = [module, std::slice::from_ref(&used.name)].concat();
                self.aliases.insert(alias, target);
            }
        }
    }

    /// The modules that a module declares, in order.
    fn children(&self, module: &[String]) -> Vec<&'a String> {
        let modules = self.files.get(module).map_or(&[][..], |file| &file.modules);
        let own = modules.iter().filter(|child| child.inside.is_empty());
        own.map(|child| &child.name).collect()
    }

    /// A reference as a path from the root; none for another crate or a local name.
    fn written_path(&self, module: &[String], used: &Reference) -> Option<Names> {
        let first = used.segments.first()?;
        let is_child = used.inside.is_empty() && self.children(module).contains(&first);
        if !is_child && !matches!(first.as_str(), "crate" | "self" | "super") {
            return None;
        }
        let mut path = [module, &used.inside].concat();
        for segment in &used.segments {
            match segment.as_str() {
                "crate" => path.clear(),
                "super" => path.truncate(path.len().saturating_sub(1)),
                "self" => {}
                _ => path.push(segment.clone()),
            }
        }
        Some(path)
    }

    /// Follows re-exports to the module in which the thing stands.
    fn origin(&self, mut path: Names) -> Names {
        // A chain of re-exports is short; the limit only ends a circle.
        for _ in 0..8 {
            let alias = |len: usize| Some((len, self.aliases.get(&path[..len])?));
            let Some((len, target)) = (1..=path.len()).find_map(alias) else {
                break;
            };
            path = [target, &path[len..]].concat();
        }
        path
    }

    fn check_place(&self, module: &[String], file: &File, faults: &mut Faults) {
        if let Some((name, parent)) = module.split_last()
            && !self.children(parent).contains(&name)
        {
            let message = "has no `mod` line, so no place in the reading order; add one";
            faults.add(&file.path, 1, message);
        }
    }

    fn wrong_use(&self, module: &[String], used: &Reference) -> Option<String> {
        let written = used.segments.join("::");
        let target = self.origin(self.written_path(module, used)?);
        let pairs = module.iter().zip(&target);
        let shared = pairs.take_while(|(own, other)| own == other).count();
        let Some(own) = module.get(shared) else {
            let is_hidden = self.is_glob_of_child(module, &target);
            return is_hidden.then(|| format!("`{written}` hides names; list them"));
        };
        // A module with its body in place belongs to the file around it.
        let is_file = |name: &&String| {
            let path = [&module[..shared], std::slice::from_ref(*name)].concat();
            self.files.contains_key(&path)
        };
        let siblings: Vec<_> =
            self.children(&module[..shared]).into_iter().filter(is_file).collect();
        let place = |name: &String| siblings.iter().position(|sibling| *sibling == name);
        match target.get(shared).filter(|other| *other != "*") {
            Some(other) if place(other)? > place(own)? => Some(format!(
                "`{written}` is in `{other}`, below `{own}`; move its `mod` line up or this down"
            )),
            // Through the whole of a parent every sibling can be reached unseen.
            None if used.is_use => Some(format!("`{written}` takes a parent whole; list names")),
            _ => None,
        }
    }

    fn is_glob_of_child(&self, module: &[String], target: &[String]) -> bool {
        let glob = target.split_last().filter(|(last, _)| *last == "*");
        glob.is_some_and(|(_, path)| path != module && self.files.contains_key(path))
    }
}

#[test]
fn reading_order_is_dependency_order() {
    prove(reading_order);
}

/// A library in which `b` and its child `b::d` each stand between one above and one below.
const AROUND: [(&str, &str); 7] = [
    ("src/lib.rs", "mod a; mod b; mod c; pub use a::Above; pub use c::{Below as Renamed, x::Y};"),
    ("src/a.rs", ""),
    ("src/b.rs", "mod above; mod d; mod below; use below::Hidden; pub struct Own;"),
    ("src/b/above.rs", ""),
    ("src/b/d.rs", ""),
    ("src/b/below.rs", ""),
    ("src/c.rs", ""),
];

#[test]
#[rustfmt::skip] // A table.
fn reading_order_checker_finds_a_forward_use() {
    check(reading_order, &AROUND, &[
        ("src/a.rs", "\nuse crate::c::Below;", 2),
        ("src/a.rs", "use crate::{a::A, c::{self as e}};", 1),
        ("src/a.rs", "use super::c;", 1),
        ("src/a.rs", "use crate::Renamed;", 1),
        ("src/a.rs", "fn f() {\ncrate::c::run() }", 2),
        ("src/a.rs", "fn f() { assert!(crate::Y) }", 1),
        ("src/a.rs", "mod inner { use super::super::c::Below; }", 1),
        ("src/b/d.rs", "use crate::c::C;", 1),
        ("src/b/d.rs", "use super::below::X;", 1),
        ("src/b/d.rs", "use crate::b::below;", 1),
        ("src/b/d.rs", "use super::{Own, Hidden};", 1),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn reading_order_checker_finds_what_hides_a_use() {
    check(reading_order, &AROUND, &[
        ("src/b/d.rs", "use super::*;", 1),
        ("src/b/d.rs", "use crate::b;", 1),
        ("src/b/d.rs", "use super::{self, Own};", 1),
        ("src/b.rs", "mod above; mod d; mod below;\npub use below::*;", 2),
        ("src/b/stray.rs", "", 1),
    ]);
}

#[test]
#[rustfmt::skip] // A table.
fn reading_order_checker_spares_a_use_of_what_is_above() {
    check(reading_order, &AROUND, &[
        ("src/b/d.rs", "use crate::a::{self, A}; use crate::{Above, b::Own};", 0),
        ("src/b/d.rs", "use super::{Own, above::X}; pub(in crate::b) struct Wide;", 0),
        ("src/b/d.rs", "use std::c::D; fn c() { c::run() }", 0),
        ("src/b/d.rs", "/// See [`crate::c`].\nfn f() {} // crate::c::run()", 0),
        ("src/b/d.rs", "#[cfg(test)] mod tests { use crate::c::D; use super::super::*; }", 0),
        ("src/main.rs", "use crate::c::Below;", 0),
    ]);
}
