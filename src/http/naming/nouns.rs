//! English nouns in the singular and the plural: a noun in either number enters, the wanted one
//! leaves.

use std::borrow::Cow;

/// Nouns whose plural no rule makes.
const IRREGULAR: &[(&str, &str)] = &[
    ("analysis", "analyses"),
    ("calf", "calves"),
    ("child", "children"),
    ("crisis", "crises"),
    ("diagnosis", "diagnoses"),
    ("echo", "echoes"),
    ("foot", "feet"),
    ("goose", "geese"),
    ("half", "halves"),
    ("hero", "heroes"),
    ("hypothesis", "hypotheses"),
    ("knife", "knives"),
    ("leaf", "leaves"),
    ("life", "lives"),
    ("loaf", "loaves"),
    ("man", "men"),
    ("mouse", "mice"),
    ("person", "people"),
    ("potato", "potatoes"),
    ("quiz", "quizzes"),
    ("shelf", "shelves"),
    ("thesis", "theses"),
    ("thief", "thieves"),
    ("tomato", "tomatoes"),
    ("tooth", "teeth"),
    ("veto", "vetoes"),
    ("wife", "wives"),
    ("wolf", "wolves"),
    ("woman", "women"),
];

/// Nouns that are their own plural.
const INVARIABLE: &[&str] = &[
    "data",
    "equipment",
    "feedback",
    "fish",
    "goods",
    "information",
    "media",
    "metadata",
    "news",
    "series",
    "sheep",
    "software",
    "species",
];

/// Singulars with an ending of plurals. All others on `ss`, `us` and `is` are singulars too.
const SINGULAR_S: &[&str] = &["alias", "atlas", "bias", "canvas", "gas", "lens"];

/// Singulars that only lose an `s`, though their plural ends as those do that lose more.
const SINGULAR_E: &[&str] = &["axe", "cache", "cookie", "movie", "niche", "pie", "selfie", "tie"];

/// How nouns are counted: by the rules of English, and by what a program adds to them.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Nouns {
    /// Singulars and their plurals.
    own: Vec<(String, String)>,
}

impl Nouns {
    pub(in crate::http) fn add(&mut self, singular: String, plural: String) {
        self.own.push((singular, plural));
    }

    /// The plural of a noun, which may be one already. Of several words the last one counts.
    pub(in crate::http) fn plural(&self, noun: &str) -> String {
        let singular = self.singular(noun);
        if let Some((_, plural)) = self.own.iter().find(|(known, _)| *known == singular) {
            return plural.clone();
        }
        let (before, word) = split(&singular);
        format!("{before}{}", plural(word))
    }

    /// The singular of a noun, which may be one already.
    pub(in crate::http) fn singular(&self, noun: &str) -> String {
        let is_own = |(singular, plural): &&(String, String)| singular == noun || plural == noun;
        if let Some((singular, _)) = self.own.iter().find(is_own) {
            return singular.clone();
        }
        let (before, word) = split(noun);
        format!("{before}{}", singular(word))
    }
}

fn split(noun: &str) -> (&str, &str) {
    noun.split_at(noun.rfind('_').map_or(0, |place| place + 1))
}

fn plural(word: &str) -> Cow<'_, str> {
    if INVARIABLE.contains(&word) {
        return word.into();
    }
    if let Some((_, plural)) = IRREGULAR.iter().find(|(singular, _)| *singular == word) {
        return (*plural).into();
    }
    if let Some(stem) = word.strip_suffix('y')
        && !stem.ends_with(['a', 'e', 'i', 'o', 'u'])
    {
        return format!("{stem}ies").into();
    }
    let hisses = ["s", "x", "z", "ch", "sh"].iter().any(|ending| word.ends_with(ending));
    format!("{word}{}", if hisses { "es" } else { "s" }).into()
}

fn singular(word: &str) -> Cow<'_, str> {
    let is_singular = ["ss", "us", "is"].iter().any(|ending| word.ends_with(ending));
    if is_singular || INVARIABLE.contains(&word) || SINGULAR_S.contains(&word) {
        return word.into();
    }
    if let Some((singular, _)) = IRREGULAR.iter().find(|(_, plural)| *plural == word) {
        return (*singular).into();
    }
    let Some(shorter) = word.strip_suffix('s') else {
        return word.into();
    };
    if SINGULAR_E.contains(&shorter) {
        return shorter.into();
    }
    if let Some(stem) = word.strip_suffix("ies") {
        return format!("{stem}y").into();
    }
    let Some(stem) = word.strip_suffix("es") else {
        return shorter.into();
    };
    let hissed = ["ss", "x", "zz", "ch", "sh"].iter().any(|ending| stem.ends_with(ending));
    // `statuses` and `buses`, but `houses` and `clauses`.
    let us = stem.ends_with("us") && !stem.ends_with("ous") && !stem.ends_with("aus");
    if hissed || us || SINGULAR_S.contains(&stem) { stem.into() } else { shorter.into() }
}
