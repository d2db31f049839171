//! The user domain: who buys.

mod events;

use callboard::http::Routes;
use callboard::{
    db::{Db, SqliteConn, is_unique_violation},
    prelude::*,
};
use chrono::{DateTime, Utc};
use diesel::{
    prelude::*,
    result::{DatabaseErrorKind::ForeignKeyViolation, Error as QueryError},
};
use diesel_async::RunQueryDsl;
use serde_json::json;

pub use events::{
    CreateUser, DeleteUser, FindUser, ListUsers, UpdateUser, User, UserCreated, UserDeleted,
    UserFound, UserUpdated, UsersListed,
};

use super::{invalid::invalid, schema::users};
use events::{EMAIL_MAX, NAME_MAX};

/// The longest page of users.
const PAGE_MAX: i64 = 1000;

pub fn domain(db: &Db) -> Domain {
    Domain::new("user")
        .handler(Create { db: db.clone() })
        .handler(Find { db: db.clone() })
        .handler(List { db: db.clone() })
        .handler(Update { db: db.clone() })
        .handler(Delete { db: db.clone() })
}

pub fn routes() -> Routes {
    Routes::new()
        .rest::<CreateUser>()
        .rest::<ListUsers>()
        .get::<FindUser>("/users/{user_id}")
        .rest::<UpdateUser>()
        .rest::<DeleteUser>()
}

#[derive(Clone)]
struct Create {
    db: Db,
}

impl EventHandler for Create {
    type Input = CreateUser;
    type Output = UserCreated;

    async fn handle(&self, user: &CreateUser, ctx: &EventContext) -> HandlerResult<UserCreated> {
        check(&user.name, &user.email)?;
        let CreateUser { name, email } = user.clone();
        let created_at: DateTime<Utc> = ctx.timestamp().into();
        self.db
            .transaction(async move |conn: &mut SqliteConn| {
                let row = (
                    users::name.eq(name),
                    users::email.eq(&email),
                    users::created_at.eq(created_at),
                );
                let insert = diesel::insert_into(users::table).values(row);
                let inserted = insert.returning(User::as_returning()).get_result(conn).await;
                inserted.map(UserCreated).map_err(|error| taken_or(error, &email))
            })
            .await
    }
}

#[derive(Clone)]
struct Find {
    db: Db,
}

impl EventHandler for Find {
    type Input = FindUser;
    type Output = UserFound;

    async fn handle(&self, wanted: &FindUser, _: &EventContext) -> HandlerResult<UserFound> {
        let id = wanted.user_id;
        self.db
            .read(async move |conn: &mut SqliteConn| {
                let user = users::table.find(id).select(User::as_select());
                let user = user.first(conn).await.optional()?;
                user.map(UserFound).ok_or_else(|| not_found(id))
            })
            .await
    }
}

#[derive(Clone)]
struct List {
    db: Db,
}

impl EventHandler for List {
    type Input = ListUsers;
    type Output = UsersListed;

    async fn handle(&self, page: &ListUsers, _: &EventContext) -> HandlerResult<UsersListed> {
        let after = page.after;
        self.db
            .read(async move |conn: &mut SqliteConn| {
                let page = users::table.filter(users::id.gt(after)).order(users::id);
                let users = page.limit(PAGE_MAX).select(User::as_select()).load(conn).await?;
                Ok(UsersListed(users))
            })
            .await
    }
}

#[derive(Clone)]
struct Update {
    db: Db,
}

impl EventHandler for Update {
    type Input = UpdateUser;
    type Output = UserUpdated;

    async fn handle(&self, user: &UpdateUser, _: &EventContext) -> HandlerResult<UserUpdated> {
        check(&user.name, &user.email)?;
        let UpdateUser { user_id: id, name, email } = user.clone();
        self.db
            .transaction(async move |conn: &mut SqliteConn| {
                let row = (users::name.eq(name), users::email.eq(&email));
                let update = diesel::update(users::table.find(id)).set(row);
                let updated = update.returning(User::as_returning()).get_result(conn).await;
                let user = updated.optional().map_err(|error| taken_or(error, &email))?;
                user.map(UserUpdated).ok_or_else(|| not_found(id))
            })
            .await
    }
}

#[derive(Clone)]
struct Delete {
    db: Db,
}

impl EventHandler for Delete {
    type Input = DeleteUser;
    type Output = UserDeleted;

    async fn handle(&self, user: &DeleteUser, _: &EventContext) -> HandlerResult<UserDeleted> {
        let id = user.user_id;
        self.db
            .transaction(async move |conn: &mut SqliteConn| {
                match diesel::delete(users::table.find(id)).execute(conn).await {
                    Ok(0) => Err(not_found(id)),
                    Ok(_) => Ok(UserDeleted {}),
                    // The orders are the shop's books, and they name the user.
                    Err(QueryError::DatabaseError(ForeignKeyViolation, _)) => {
                        let message = format!("user {id} has orders");
                        Err(HandlerError::conflict(message).code("has_orders"))
                    }
                    Err(error) => Err(error.into()),
                }
            })
            .await
    }
}

fn check(name: &str, email: &str) -> HandlerResult<()> {
    if name.trim().is_empty() {
        return Err(invalid("name", "name is empty"));
    }
    if name.chars().count() > NAME_MAX {
        return Err(invalid("name", format!("name is longer than {NAME_MAX} characters")));
    }
    if !email.contains('@') {
        return Err(invalid("email", "email has no @"));
    }
    if !email.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid("email", "email has a character that no address has"));
    }
    if email.len() > EMAIL_MAX {
        return Err(invalid("email", format!("email is longer than {EMAIL_MAX} bytes")));
    }
    Ok(())
}

fn not_found(id: i64) -> HandlerError {
    HandlerError::not_found(format!("there is no user {id}")).code("user_not_found")
}

/// The unique column decides, not a look before the write: two may come with one e-mail at once.
fn taken_or(error: QueryError, email: &str) -> HandlerError {
    if is_unique_violation(&error) {
        let taken = HandlerError::conflict(format!("another user has the e-mail {email}"));
        return taken.code("email_taken").details(json!({ "field": "email" }));
    }
    error.into()
}
