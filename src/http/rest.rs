//! The naming convention: an event type enters, the method and path that its name asks for leave as
//! a route.

use actix_web::http::Method;
use callboard_actors::Replies;

use super::fields::Fields;
use super::naming::{Naming, Nouns, kebab};
use super::route::Route;

/// How names of events become routes; [`Routes::rest`](super::Routes::rest) follows it.
///
/// The last part of the name is the action, the part before it the resource, in the singular or the
/// plural: `user.create` and `users.create` are both `POST /users`. Parts before these stay in front:
/// `billing.invoice.list` is `GET /billing/invoices`.
///
/// | action | route |
/// |---|---|
/// | `create`, `list` | POST, GET `/users` |
/// | `get`, `update`, `patch`, `delete` | GET, PUT, PATCH, DELETE `/users/{user_id}` |
/// | `find` | GET `/users/find` |
/// | `bulk_create`, `bulk_update`, `bulk_delete` | POST, PUT, DELETE `/users/bulk` |
/// | `refresh`, `start`, `stop`, `pause`, `resume`, `launch`, `complete`, `cancel`, `close`, `move`, `archive`, `restore`, `activate`, `deactivate`, `test` | POST `/users/{user_id}/activate` |
/// | `get_members` | GET `/users/{user_id}/get-members` |
/// | `add_member`, `add_tags` | POST `/users/{user_id}/add-tags` |
/// | `remove_member`, `remove_tags` | DELETE `/users/{user_id}/remove-tags` |
/// | any other, such as `search`, `query`, `login`, `change_password` | POST `/users/change-password` |
///
/// The parameter is the event's own field: the resource's name with `_id`, such as `user_id`, or
/// `id` where there is no such field. Everything else comes as for any route: from the query string
/// with GET and DELETE, from the body with the other methods.
///
/// ```
/// use callboard::http::{Rest, Routes};
/// # use callboard::{Event, Replies};
/// # #[derive(Clone, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
/// # struct GetOx { ox_id: i64 }
/// # impl Event for GetOx { const NAME: &'static str = "ox.get"; }
/// # impl Replies for GetOx { type Reply = GetOx; }
///
/// let routes = Routes::new()
///     .convention(Rest::new().prefix("/api/v1").plural("ox", "oxen"))
///     .rest::<GetOx>();
/// let line = routes.iter().next().map(ToString::to_string);
/// assert_eq!(line.as_deref(), Some("GET /api/v1/oxen/{ox_id} -> ox.get"));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a convention does nothing until routes are made by it"]
pub struct Rest {
    prefix: String,
    nouns: Nouns,
}

/// Where an action is done.
enum Place {
    /// `/users`
    All,
    /// `/users/{user_id}`
    One,
    /// `/users/{user_id}/activate`
    AtOne,
    /// `/users/search`
    AtAll,
    /// `/users/bulk`
    Bulk,
}

impl Rest {
    /// The convention as it is: no prefix, and the plurals of English.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what stands before each path, such as `/api/v1`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Adds a plural that the rules of English do not give, such as `oxen`.
    pub fn plural(mut self, singular: impl Into<String>, plural: impl Into<String>) -> Self {
        self.nouns.add(singular.into(), plural.into());
        self
    }

    /// The route of an event, for what shall differ from the convention.
    pub fn route<E: Replies>(&self) -> Route {
        let naming = Naming::of(E::NAME);
        let (method, place) = place(naming.action);
        let mut all = self.prefix.trim_end_matches('/').to_owned();
        let plural = self.nouns.plural(naming.resource);
        for part in naming.scope.iter().copied().chain([&*plural]) {
            all.push('/');
            all.push_str(&kebab(part));
        }
        let one = || format!("{all}/{{{}}}", id_field::<E>(&self.nouns.singular(naming.resource)));
        let action = kebab(naming.action);
        let path = match place {
            Place::All => all,
            Place::One => one(),
            Place::AtOne => format!("{}/{action}", one()),
            Place::AtAll => format!("{all}/{action}"),
            Place::Bulk => format!("{all}/bulk"),
        };
        let route = Route::by_method::<E>(method, path);
        route.tag(naming.tag(&self.nouns)).summary(naming.summary(&self.nouns))
    }
}

/// The field that tells one resource from the others.
fn id_field<E: Replies>(resource: &str) -> String {
    let fields = Fields::of::<E>();
    let own = format!("{resource}_id");
    // Of an event with neither, the fault names the field that should be there.
    if fields.get(&own).is_none() && fields.get("id").is_some() { "id".to_owned() } else { own }
}

fn place(action: &str) -> (Method, Place) {
    match action {
        "create" => (Method::POST, Place::All),
        "list" => (Method::GET, Place::All),
        "get" => (Method::GET, Place::One),
        "update" => (Method::PUT, Place::One),
        "patch" => (Method::PATCH, Place::One),
        "delete" => (Method::DELETE, Place::One),
        "find" => (Method::GET, Place::AtAll),
        "bulk_create" => (Method::POST, Place::Bulk),
        "bulk_update" => (Method::PUT, Place::Bulk),
        "bulk_delete" => (Method::DELETE, Place::Bulk),
        "get_members" => (Method::GET, Place::AtOne),
        "remove_member" | "remove_tags" => (Method::DELETE, Place::AtOne),
        "add_member" | "add_tags" | "refresh" | "start" | "stop" | "pause" | "resume"
        | "launch" | "complete" | "cancel" | "close" | "move" | "archive" | "restore"
        | "activate" | "deactivate" | "test" => (Method::POST, Place::AtOne),
        _ => (Method::POST, Place::AtAll),
    }
}
