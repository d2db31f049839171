//! What the user domain takes and publishes.

use callboard::prelude::*;
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::schema::users;

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
pub struct CreateUser {
    pub name: String,
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
    pub name: String,
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
