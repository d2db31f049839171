//! What the name of an event says: `order.add_tags` enters; the resource, the action, and the words
//! that people read leave.

mod nouns;
pub(super) use nouns::Nouns;

/// Actions on several resources at once.
const ON_MANY: &[&str] =
    &["list", "search", "query", "import", "export", "bulk_create", "bulk_update", "bulk_delete"];

/// An event's name in its parts.
pub(super) struct Naming<'n> {
    /// The parts before the resource: `billing` of `billing.invoice.create`.
    pub(super) scope: Vec<&'n str>,
    /// What it is about, as it is written: `user`, or `users`.
    pub(super) resource: &'n str,
    /// What is done: `create`.
    pub(super) action: &'n str,
}

impl<'n> Naming<'n> {
    pub(super) fn of(event: &'n str) -> Self {
        let mut scope: Vec<_> = event.split('.').collect();
        // A name without a dot is refused when the runtime starts.
        let action = scope.pop().unwrap_or(event);
        let resource = scope.pop().unwrap_or(action);
        Self { scope, resource, action }
    }

    /// Under which heading it belongs: `Order item`.
    pub(super) fn tag(&self, nouns: &Nouns) -> String {
        sentence(&nouns.singular(self.resource))
    }

    /// What is done, in words: `Create user`, `List users`.
    pub(super) fn summary(&self, nouns: &Nouns) -> String {
        let noun = if ON_MANY.contains(&self.action) {
            nouns.plural(self.resource)
        } else {
            nouns.singular(self.resource)
        };
        sentence(&format!("{} {noun}", self.action))
    }
}

fn sentence(text: &str) -> String {
    let text = text.replace('_', " ");
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The form of a name in a path: `bulk-update`.
pub(super) fn kebab(name: &str) -> String {
    name.replace('_', "-")
}
