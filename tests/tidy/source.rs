//! The files that the rules read: paths and texts enter, Rust leaves as a flat list of tokens.
//!
//! Comments and strings are no code, macro bodies are: hence tokens and not a syntax tree.

use proc_macro2::{Delimiter, LexError, TokenStream, TokenTree};
use std::{collections::HashMap, fs, ops::RangeInclusive, path::Path, process::Command};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The fewest files under each folder: a rule that reads nothing finds nothing.
const FILES_MIN: [(&str, usize); 3] = [("src/", 3), ("actors/src/", 3), ("tests/", 3)];

/// A file; what follows from its tokens is empty when it is not Rust.
#[derive(Default)]
pub(crate) struct File {
    /// From the root, with `/` between its parts.
    pub(crate) path: String,
    /// Empty when the file is not text.
    pub(crate) text: String,
    pub(crate) is_rust: bool,
    /// Each `mod`, with or without a body.
    pub(crate) modules: Vec<Module>,
    pub(crate) references: Vec<Reference>,
    /// Each with its line; `::` is one token.
    tokens: Vec<(String, usize)>,
    /// From the index of an opening bracket to that of its closing one.
    closes: HashMap<usize, usize>,
    test_lines: Vec<RangeInclusive<usize>>,
}

pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// The inline modules around it, outermost first.
    pub(crate) inside: Vec<String>,
    body: RangeInclusive<usize>,
}

/// A path in code, or one leaf of a `use` tree.
pub(crate) struct Reference {
    pub(crate) segments: Vec<String>,
    /// What a `use` calls it: the last segment, or what stands behind `as`.
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) is_use: bool,
    /// The inline modules around it, outermost first.
    pub(crate) inside: Vec<String>,
}

/// All files of this repository that git does not ignore.
pub(crate) fn repository() -> Vec<File> {
    let mut files = Vec::new();
    for path in paths() {
        // Git still lists a file that was deleted a moment ago.
        if let Ok(bytes) = fs::read(Path::new(ROOT).join(&path)) {
            files.push(File::new(&path, &String::from_utf8(bytes).unwrap_or_default()));
        }
    }
    for (folder, min) in FILES_MIN {
        let rust = files.iter().filter(|file| file.is_rust && file.path.starts_with(folder));
        assert!(rust.count() >= min, "read fewer than {min} Rust files under {folder}");
    }
    files
}

fn paths() -> Vec<String> {
    let arguments = "ls-files -z --cached --others --exclude-standard".split(' ');
    let mut git = Command::new("git");
    let answer = git.current_dir(ROOT).args(arguments).output();
    let listed = answer.map_or_else(|_| Vec::new(), |answer| answer.stdout);
    let listed = String::from_utf8_lossy(&listed);
    let mut paths: Vec<String> = listed.split_terminator('\0').map(str::to_owned).collect();
    if paths.is_empty() {
        let ignored = fs::read_to_string(Path::new(ROOT).join(".gitignore"));
        walk(Path::new(ROOT), &ignored.unwrap_or_default(), &mut paths);
    }
    paths
}

/// Stands in for git; understands plain names and a `*` in front, all that our `.gitignore` needs.
fn walk(folder: &Path, ignored: &str, paths: &mut Vec<String>) {
    // What cannot be listed is missed here and noticed by `FILES_MIN`.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let is_named = |pattern: &str| match pattern.strip_prefix('*') {
            Some(end) => name.ends_with(end),
            None => pattern.trim_matches('/') == name,
        };
        if name == ".git" || ignored.lines().any(is_named) {
            continue;
        }
        if path.is_dir() {
            walk(&path, ignored, paths);
        } else if let Ok(path) = path.strip_prefix(ROOT) {
            paths.push(path.to_string_lossy().replace('\\', "/"));
        }
    }
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let mut file = Self { path: path.to_owned(), text: text.to_owned(), ..Self::default() };
        let is_rust = Path::new(path).extension().is_some_and(|end| end == "rs");
        // What stands in `tests/ui` is wrong on purpose.
        file.is_rust = is_rust && !path.starts_with("tests/ui/");
        if file.is_rust {
            let stream = text.parse();
            file.flatten(stream.unwrap_or_else(|error: LexError| panic!("{path}: {error}")));
            file.read_test_lines();
            file.read_modules();
            file.read_references();
        }
        file
    }

    pub(crate) fn is_under(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    /// Whether a line is under `#[cfg(test)]`; a module of its own is called `tests.rs` by custom.
    pub(crate) fn is_test(&self, line: usize) -> bool {
        let mut tests = self.test_lines.iter();
        self.path.ends_with("/tests.rs") || tests.any(|lines| lines.contains(&line))
    }

    pub(crate) fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.0)
    }

    pub(crate) fn line(&self, at: usize) -> usize {
        self.tokens.get(at).map_or(1, |token| token.1)
    }

    /// Where the words of `pattern`, with a space between them, stand in a row.
    pub(crate) fn find(&self, pattern: &str) -> Vec<usize> {
        let words: Vec<&str> = pattern.split(' ').collect();
        let is_here = |at: &usize| (0..words.len()).all(|i| self.word(at + i) == words[i]);
        (0..self.tokens.len()).filter(is_here).collect()
    }

    /// The index behind a token, or behind the whole bracket that it opens.
    pub(crate) fn after(&self, at: usize) -> usize {
        self.closes.get(&at).unwrap_or(&at) + 1
    }

    /// Where the body of the item at `at` opens, or where the item ends without one.
    pub(crate) fn body(&self, mut at: usize) -> usize {
        while !matches!(self.word(at), "{" | "}" | ")" | "]" | ";" | "") {
            at = self.after(at);
        }
        at
    }

    /// The last token of the item at `at`; a `use` with braces has a semicolon behind them.
    pub(crate) fn end(&self, at: usize) -> usize {
        let behind = self.after(self.body(at));
        if self.word(behind) == ";" { behind } else { behind - 1 }
    }

    fn flatten(&mut self, stream: TokenStream) {
        let mut trees = stream.into_iter().peekable();
        while let Some(tree) = trees.next() {
            let line = tree.span().start().line;
            if let TokenTree::Group(group) = tree {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace | Delimiter::None => ("{", "}"),
                };
                let (at, last_line) = (self.tokens.len(), group.span_close().start().line);
                self.tokens.push((open.to_owned(), line));
                self.flatten(group.stream());
                self.closes.insert(at, self.tokens.len());
                self.tokens.push((close.to_owned(), last_line));
            } else if is_colon(&tree) && trees.next_if(is_colon).is_some() {
                self.tokens.push(("::".to_owned(), line));
            } else {
                self.tokens.push((tree.to_string(), line));
            }
        }
    }

    fn read_test_lines(&mut self) {
        for condition in ["# [ cfg ( test ) ]", "# [ cfg ( all ( test ,"] {
            for at in self.find(condition) {
                let lines = self.line(at)..=self.line(self.end(at));
                self.test_lines.push(lines);
            }
        }
    }

    fn read_modules(&mut self) {
        for at in self.find("mod") {
            let (name, line) = (self.word(at + 1).to_owned(), self.line(at));
            let (inside, body) = (self.inside(at), self.body(at)..=self.end(at));
            self.modules.push(Module { name, line, inside, body });
        }
    }

    fn inside(&self, at: usize) -> Vec<String> {
        let around = self.modules.iter().filter(|module| module.body.contains(&at));
        around.map(|module| module.name.clone()).collect()
    }

    fn read_references(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            at = match (self.word(at), self.word(at + 1)) {
                ("use", "::") => self.read_tree(at + 2, &[], true),
                ("use", _) => self.read_tree(at + 1, &[], true),
                (_, "::") => self.read_tree(at, &[], false),
                _ => at + 1,
            };
        }
    }

    /// Records each leaf of the tree at `at`; returns the index behind it.
    fn read_tree(&mut self, mut at: usize, prefix: &[String], is_use: bool) -> usize {
        let mut segments = prefix.to_vec();
        while self.word(at) != "{" {
            segments.push(self.word(at).to_owned());
            if self.word(at + 1) != "::" || self.word(at + 2) == "<" {
                return self.record(at, segments, is_use);
            }
            at += 2;
        }
        let end = self.after(at);
        at += 1;
        while at + 1 < end {
            let is_leaf = self.word(at) != ",";
            at = if is_leaf { self.read_tree(at, &segments, is_use) } else { at + 1 };
        }
        end
    }

    fn record(&mut self, at: usize, mut segments: Vec<String>, is_use: bool) -> usize {
        // `{self}` at the end of a tree means what stands before it.
        if segments.len() > 1 {
            segments.pop_if(|last| last == "self");
        }
        let is_renamed = is_use && self.word(at + 1) == "as";
        let last = segments.last().map_or("", |last| last);
        let name = if is_renamed { self.word(at + 2) } else { last }.to_owned();
        let (line, inside) = (self.line(at), self.inside(at));
        self.references.push(Reference { segments, name, line, is_use, inside });
        if is_renamed { at + 3 } else { at + 1 }
    }
}

fn is_colon(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ':')
}

#[test]
fn a_use_tree_is_read_leaf_by_leaf() {
    let text = "use a::{self, b::{C as D, *}}; mod m { fn f() { x!(super::e::<u8>()) } }";
    let file = File::new("src/a.rs", text);
    let read = |used: &Reference| format!("{} as {}", used.segments.join("::"), used.name);
    let found: Vec<String> = file.references.iter().map(read).collect();
    assert_eq!(found, ["a as a", "a::b::C as D", "a::b::* as *", "super::e as e"]);
    assert_eq!(file.references[3].inside, ["m"]);
}

#[test]
fn test_code_is_what_cfg_test_covers() {
    let file = File::new("src/a.rs", "fn a() {}\n#[cfg(test)]\nmod t {\n}\nfn b() {}");
    let lines: Vec<usize> = (1..=5).filter(|line| file.is_test(*line)).collect();
    assert_eq!(lines, [2, 3, 4]);
}

#[test]
fn without_git_the_walk_finds_the_same_kind_of_files() {
    let mut paths = Vec::new();
    walk(Path::new(ROOT), "/target\n*.toml", &mut paths);
    assert!(paths.iter().any(|path| path == "tests/tidy/source.rs"));
    assert!(!paths.iter().any(|path| path == "Cargo.toml" || path.starts_with("target/")));
}
