//! What somebody must be permitted: a requirement and an identity enter, a pass or a refusal leaves.

use std::borrow::Cow;
use std::fmt;

use callboard_actors::Identity;

/// The permissions that an identity must have.
///
/// | requirement | is met by |
/// |---|---|
/// | `Requirement::new()` | anybody who is known |
/// | `permissions_all(a, b)` | who has a and b |
/// | `permissions_any(a, b)` | who has a or b |
/// | several of them | who meets each |
/// | `permissions_any()` of nothing | nobody |
///
/// Permissions are compared letter by letter; there are no patterns among them.
///
/// ```
/// use callboard::Identity;
/// use callboard::auth::Requirement;
///
/// let clerks = Requirement::new().permissions_any(["orders.read", "orders.admin"]);
/// let mut ada = Identity::new("ada");
/// assert!(clerks.check(&ada).is_err());
/// ada.permissions.push("orders.read".to_owned());
/// assert!(clerks.check(&ada).is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requirement {
    all: Vec<Cow<'static, str>>,
    /// Of each list one.
    any: Vec<Vec<Cow<'static, str>>>,
}

/// Says that somebody who is known lacks a permission: 403, not 401.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the permissions do not suffice")]
#[non_exhaustive]
pub struct Forbidden {
    /// The permissions that are missing; of an [any](Requirement::permissions_any), the whole list.
    pub missing: Vec<String>,
}

/// The setters of whatever holds a requirement, which is this field of it.
macro_rules! permission_setters {
    ($($requirement:ident).+) => {
        /// Demands each of these permissions.
        pub fn permissions_all<P: Into<std::borrow::Cow<'static, str>>>(
            mut self,
            permissions: impl IntoIterator<Item = P>,
        ) -> Self {
            self.$($requirement).+ = self.$($requirement).+.permissions_all(permissions);
            self
        }

        /// Demands one of these permissions at least, beside what is demanded already.
        pub fn permissions_any<P: Into<std::borrow::Cow<'static, str>>>(
            mut self,
            permissions: impl IntoIterator<Item = P>,
        ) -> Self {
            self.$($requirement).+ = self.$($requirement).+.permissions_any(permissions);
            self
        }
    };
}
pub(crate) use permission_setters;

impl Requirement {
    /// Demands nothing but an identity.
    pub fn new() -> Self {
        Self::default()
    }

    /// Demands each of these permissions.
    pub fn permissions_all<P: Into<Cow<'static, str>>>(
        mut self,
        permissions: impl IntoIterator<Item = P>,
    ) -> Self {
        self.all.extend(permissions.into_iter().map(Into::into));
        self
    }

    /// Demands one of these permissions at least, beside what is demanded already.
    pub fn permissions_any<P: Into<Cow<'static, str>>>(
        mut self,
        permissions: impl IntoIterator<Item = P>,
    ) -> Self {
        self.any.push(permissions.into_iter().map(Into::into).collect());
        self
    }

    /// Compares with what an identity is permitted.
    ///
    /// # Errors
    /// [`Forbidden`] with what is missing.
    pub fn check(&self, identity: &Identity) -> Result<(), Forbidden> {
        let has = |wanted: &&Cow<'static, str>| {
            identity.permissions.iter().any(|permission| permission == wanted.as_ref())
        };
        let alone = self.all.iter().filter(|wanted| !has(wanted));
        let mut unmet = self.any.iter().filter(|list| !list.iter().any(|wanted| has(&wanted)));
        // A list without permissions is met by nobody and has nothing that could be missing.
        let nobody = self.any.iter().any(Vec::is_empty);
        let listed = unmet.by_ref().flatten();
        let missing: Vec<String> = alone.chain(listed).map(ToString::to_string).collect();
        if missing.is_empty() && !nobody { Ok(()) } else { Err(Forbidden { missing }) }
    }

    /// Whether it demands more than an identity.
    pub(crate) fn demands_permissions(&self) -> bool {
        !(self.all.is_empty() && self.any.is_empty())
    }

    /// Says what is wrong with the requirement itself, if anything: for checks at the start.
    pub fn fault(&self) -> Option<&'static str> {
        let mut names = self.all.iter().chain(self.any.iter().flatten());
        if self.any.iter().any(Vec::is_empty) {
            return Some("any of no permissions lets nobody in: list one, or leave it out");
        }
        names
            .any(|name| name.is_empty() || name.contains(char::is_whitespace))
            .then_some("a permission is empty or has a space in it, which no token can carry")
    }

    /// Every permission that is named, for a description of the interface.
    pub fn permissions(&self) -> impl Iterator<Item = &str> {
        self.all.iter().chain(self.any.iter().flatten()).map(AsRef::as_ref)
    }
}

/// For people, such as "`a` and (`b` or `c`)"; nothing where nothing is demanded.
impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alone = self.all.iter().map(|name| format!("`{name}`"));
        let lists = self.any.iter().map(|list| match list.as_slice() {
            [only] => format!("`{only}`"),
            list => format!("(`{}`)", list.join("` or `")),
        });
        f.write_str(&alone.chain(lists).collect::<Vec<_>>().join(" and "))
    }
}

impl Forbidden {
    /// The stable code, for programs.
    pub fn code(&self) -> &'static str {
        "forbidden"
    }

    /// The value of the `WWW-Authenticate` header of the 403.
    pub fn www_authenticate(&self) -> String {
        format!("Bearer error=\"insufficient_scope\", error_description=\"{self}\"")
    }
}
