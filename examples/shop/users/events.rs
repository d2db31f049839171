//! What the user domain takes and publishes.

use callboard::prelude::*;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::schema::users;

/// The longest name, in characters.
pub const NAME_MAX: usize = 200;

/// The longest address that mail can be sent to, in bytes (RFC 5321).
pub const EMAIL_MAX: usize = 254;

/// A customer, as the database keeps it and the world sees it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Queryable, Selectable)]
#[diesel(table_name = users)]
pub struct User {
    pub id: i64,
    pub name: String,
    pub email: String,
    pub created_at: DateTime<Utc>,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(example = json!({ "name": "Ada", "email": "ada@example.com" }))]
pub struct CreateUser {
    #[schemars(length(min = 1, max = NAME_MAX), pattern(r"\S"))]
    pub name: String,
    #[schemars(length(max = EMAIL_MAX), pattern("^[!-~]*@[!-~]*$"))]
    pub email: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserCreated(pub User);

impl Event for CreateUser {
    const NAME: &'static str = "user.create";
}
impl Event for UserCreated {
    const NAME: &'static str = "user.created";
}
impl Replies for CreateUser {
    type Reply = UserCreated;
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FindUser {
    pub user_id: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserFound(pub User);

impl Event for FindUser {
    const NAME: &'static str = "user.find";
}
impl Event for UserFound {
    const NAME: &'static str = "user.found";
}
impl Replies for FindUser {
    type Reply = UserFound;
}

/// Asks for a page of users, by rising id.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ListUsers {
    /// The last id of the page before.
    #[serde(default)]
    pub after: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UsersListed(pub Vec<User>);

impl Event for ListUsers {
    const NAME: &'static str = "user.list";
}
impl Event for UsersListed {
    const NAME: &'static str = "user.listed";
}
impl Replies for ListUsers {
    type Reply = UsersListed;
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UpdateUser {
    pub user_id: i64,
    #[schemars(length(min = 1, max = NAME_MAX), pattern(r"\S"))]
    pub name: String,
    #[schemars(length(max = EMAIL_MAX), pattern("^[!-~]*@[!-~]*$"))]
    pub email: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserUpdated(pub User);

impl Event for UpdateUser {
    const NAME: &'static str = "user.update";
}
impl Event for UserUpdated {
    const NAME: &'static str = "user.updated";
}
impl Replies for UpdateUser {
    type Reply = UserUpdated;
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct DeleteUser {
    pub user_id: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct UserDeleted {}

impl Event for DeleteUser {
    const NAME: &'static str = "user.delete";
}
impl Event for UserDeleted {
    const NAME: &'static str = "user.deleted";
}
impl Replies for DeleteUser {
    type Reply = UserDeleted;
}
