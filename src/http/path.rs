//! Paths of routes, and the tree that finds the one a request means: declared paths enter once, a
//! request's path enters each time, and a place with the texts of its parameters leaves.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::percent::{BadEncoding, decode};

/// How many parameters a path may have; actix-web's own limit.
const PARAMS_MAX: usize = 16;

/// A declared path, such as `/users/{user_id}`.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug)]
enum Segment {
    Static(String),
    Param(String),
}

impl Pattern {
    /// Reads a declared path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(path: &str) -> Result<Self, &'static str> {
        let Some(relative) = path.strip_prefix('/') else {
            return Err("a path starts with `/`");
        };
        let parts: Vec<_> = relative.split('/').collect();
        if parts[..parts.len() - 1].contains(&"") {
            return Err("it has two slashes in a row");
        }
        let segments = parts.into_iter().map(Segment::parse);
        let pattern = Self { segments: segments.collect::<Result<_, _>>()? };
        let params: Vec<_> = pattern.params().collect();
        if params.len() > PARAMS_MAX {
            Err("it has more than 16 parameters")
        } else if (1..params.len()).any(|i| params[..i].contains(&params[i])) {
            Err("it has one parameter twice")
        } else {
            Ok(pattern)
        }
    }

    /// The names of the parameters, in order.
    pub(super) fn params(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(name.as_str()),
            Segment::Static(_) => None,
        })
    }

    /// The path with its parameters' names left out: two paths of one shape match the same requests.
    pub(super) fn shape(&self) -> String {
        let parts = self.segments.iter().map(|segment| match segment {
            Segment::Static(text) => format!("/{text}"),
            Segment::Param(_) => "/{}".to_owned(),
        });
        parts.collect()
    }

    /// The texts at the places of the parameters in a path that is known to match, whatever stands
    /// before the part that does.
    pub(super) fn captures<'p>(&self, path: &'p str) -> Vec<&'p str> {
        let mut captures: Vec<_> = (self.segments.iter().rev())
            .zip(path.rsplit('/'))
            .filter(|(segment, _)| matches!(segment, Segment::Param(_)))
            .map(|(_, text)| text)
            .collect();
        captures.reverse();
        captures
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        if let Some(name) = inner {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            let named = name.bytes().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit());
            return if named && !name.is_empty() {
                Ok(Self::Param(name.to_owned()))
            } else {
                Err("a parameter is named with letters, digits and `_`")
            };
        }
        if text.contains(['{', '}']) {
            Err("a parameter is a whole segment, like `/{id}`")
        } else if text.starts_with(':') {
            Err("a parameter is written `{id}`, not `:id`")
        } else if text.contains(['*', '?', '#', '%']) || text.contains(char::is_whitespace) {
            Err("`*`, `?`, `#`, `%` and white space have no place in it")
        } else {
            Ok(Self::Static(text.to_owned()))
        }
    }
}

/// Declared paths, segment by segment. A static segment beats a parameter, whichever came first.
#[derive(Default)]
pub(super) struct Tree {
    statics: BTreeMap<String, Tree>,
    param: Option<Box<Tree>>,
    place: Option<usize>,
}

impl Tree {
    /// The place of a path; `vacant` when no other path of its shape has been added.
    pub(super) fn add(&mut self, pattern: &Pattern, vacant: usize) -> usize {
        let leaf = (pattern.segments.iter()).fold(self, |tree, segment| match segment {
            Segment::Static(text) => tree.statics.entry(text.clone()).or_default(),
            Segment::Param(_) => tree.param.get_or_insert_default(),
        });
        *leaf.place.get_or_insert(vacant)
    }

    /// Finds the place that a request's path means, and the texts of its parameters, still encoded.
    pub(super) fn find<'p>(&self, path: &'p str) -> Option<(usize, Vec<&'p str>)> {
        let mut captures = Vec::new();
        let place = self.descend(Some(path.strip_prefix('/')?), &mut captures)?;
        Some((place, captures))
    }

    /// All places; of two that match one path, the one that is meant comes first.
    pub(super) fn places(&self) -> Vec<usize> {
        let below = self.statics.values().chain(self.param.as_deref());
        let here = self.place.into_iter();
        here.chain(below.flat_map(Self::places)).collect()
    }

    fn descend<'p>(&self, rest: Option<&'p str>, captures: &mut Vec<&'p str>) -> Option<usize> {
        let Some(rest) = rest else { return self.place };
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        // What is not decodable is no static segment; a parameter reports it.
        let text = decode(segment).unwrap_or(Cow::Borrowed(segment));
        if let Some(tree) = self.statics.get(&*text)
            && let Some(place) = tree.descend(rest, captures)
        {
            return Some(place);
        }
        let tree = self.param.as_ref().filter(|_| !segment.is_empty())?;
        captures.push(segment);
        let place = tree.descend(rest, captures);
        if place.is_none() {
            captures.pop();
        }
        place
    }
}

/// Decodes the texts of a path's parameters.
pub(super) fn decoded(captures: Vec<&str>) -> Result<Vec<String>, BadEncoding> {
    let texts = captures.into_iter();
    texts.map(|text| decode(text).map(Cow::into_owned)).collect()
}
