//! Who may use a route, a session or a stream: what its author declared enters, a guard for its door
//! leaves, or what is wrong with the declaration.

use std::fmt;
use std::sync::Arc;

use super::guard::Guard;
use super::provider::Provider;
use super::requirement::Requirement;

const NO_PROVIDER: &str = "it demands permissions, but nothing tells who a client is: set \
    AUTH_SECRET or AUTH_PUBLIC_KEY_FILE, or give a provider to `App::auth`, `Routes::auth`, \
    `Ws::auth` or `Sse::auth`";
const PUBLIC: &str =
    "it is public, where nobody has permissions: leave out `public`, or the permissions";

/// Who may come in.
///
/// | provider | public | outcome |
/// |---|---|---|
/// | none | no or yes | anybody; permissions are a fault |
/// | one | yes | anybody; permissions are a fault |
/// | one | no | who is known, and has the permissions |
#[derive(Clone, Default)]
pub(crate) struct Access {
    pub(crate) provider: Option<Arc<dyn Provider>>,
    pub(crate) requirement: Requirement,
    pub(crate) is_public: bool,
}

impl Access {
    /// The same with a provider, where it has none of its own.
    pub(crate) fn under(mut self, provider: Option<&Arc<dyn Provider>>) -> Self {
        self.provider = self.provider.or_else(|| provider.cloned());
        self
    }

    /// Who stands at the door; nobody where anybody may come in.
    pub(crate) fn guard(&self) -> Option<Guard> {
        let provider = self.provider.as_ref().filter(|_| !self.is_public)?;
        Some(Guard { provider: Arc::clone(provider), requirement: self.requirement.clone() })
    }

    /// What is wrong with what was declared.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        self.fault_of(&self.requirement)
    }

    /// What is wrong with a requirement behind this door.
    pub(crate) fn fault_of(&self, requirement: &Requirement) -> Option<&'static str> {
        let is_demanding = requirement.demands_permissions();
        if is_demanding && self.is_public {
            return Some(PUBLIC);
        }
        let nobody = (is_demanding && self.provider.is_none()).then_some(NO_PROVIDER);
        requirement.fault().or(nobody)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("has_provider", &self.provider.is_some())
            .field("requirement", &self.requirement)
            .field("is_public", &self.is_public)
            .finish()
    }
}
