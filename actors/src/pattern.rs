//! Patterns over event names.

use std::fmt;

use crate::event::EVENT_NAME_MAX;

/// A pattern over the dotted parts of event names: `*` stands for one part, `**` for one or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Box<str>);

impl Pattern {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// What is wrong with it, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let part = |part: &str| {
            part == "*" || part == "**" || (!part.is_empty() && part.bytes().all(plain))
        };
        if self.0.len() > EVENT_NAME_MAX {
            Some("longer than 200 bytes")
        } else if !self.0.split('.').all(part) {
            Some(
                "its parts, joined by dots, are lower-case letters, digits and `_`, or `*`, or `**`",
            )
        } else {
            None
        }
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        fn matches(pattern: &str, name: &str) -> bool {
            let (first, rest) = split(pattern);
            let (part, following) = split(name);
            match (first, rest, following) {
                ("**", None, _) => true,
                ("**", Some(rest), Some(following)) => {
                    matches(rest, following) || matches(pattern, following)
                }
                (_, Some(rest), Some(following)) => {
                    (first == "*" || first == part) && matches(rest, following)
                }
                (_, None, None) => first == "*" || first == part,
                _ => false,
            }
        }
        matches(&self.0, name)
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    text.split_once('.').map_or((text, None), |(first, rest)| (first, Some(rest)))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_part_and_two_are_one_or_more() {
        for (pattern, name, expected) in [
            ("user.*", "user.created", true),
            ("user.*", "user.created.error", false),
            ("user.*", "users.created", false),
            ("*.created", "user.created", true),
            ("*.created", "a.user.created", false),
            ("order.**", "order.placed", true),
            ("order.**", "order.item.added", true),
            ("order.**", "orders.placed", false),
            ("**", "user.created", true),
            ("**.error", "user.create.error", true),
            ("**.error", "user.create", false),
            ("order.**.added", "order.item.added", true),
            ("order.**.added", "order.item.part.added", true),
            ("order.**.added", "order.added", false),
            ("user.created", "user.created", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_pattern_with_odd_parts_is_refused() {
        assert_eq!(Pattern::new("user.*").fault(), None);
        for wrong in ["", "user.", "User.*", "user.cre*", "user.***", "a b"] {
            assert!(Pattern::new(wrong).fault().is_some(), "{wrong}");
        }
    }
}
