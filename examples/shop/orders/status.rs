//! The state of an order: an enum in the code, a word in JSON and in the database.

use std::fmt;

use diesel::{
    deserialize::{self, FromSql, FromSqlRow},
    expression::AsExpression,
    serialize::{self, Output, ToSql},
    sql_types::Text,
    sqlite::{Sqlite, SqliteValue},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where an order stands. It leaves `Placed` once, and none of the others ever.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, AsExpression, FromSqlRow,
)]
#[diesel(sql_type = Text)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// On its way; what is in stock may be reserved for it.
    Placed,
    /// Paid; the goods are the customer's.
    Confirmed,
    /// The payment was refused.
    Declined,
    /// There was not enough of an item.
    OutOfStock,
    /// Its chain broke before it was paid.
    Abandoned,
}

const ALL: [OrderStatus; 5] = [
    OrderStatus::Placed,
    OrderStatus::Confirmed,
    OrderStatus::Declined,
    OrderStatus::OutOfStock,
    OrderStatus::Abandoned,
];

impl OrderStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Confirmed => "confirmed",
            Self::Declined => "declined",
            Self::OutOfStock => "out_of_stock",
            Self::Abandoned => "abandoned",
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ToSql<Text, Sqlite> for OrderStatus {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
        <str as ToSql<Text, Sqlite>>::to_sql(self.as_str(), out)
    }
}

impl FromSql<Text, Sqlite> for OrderStatus {
    fn from_sql(value: SqliteValue<'_, '_, '_>) -> deserialize::Result<Self> {
        let word = <String as FromSql<Text, Sqlite>>::from_sql(value)?;
        let status = ALL.into_iter().find(|status| status.as_str() == word);
        status.ok_or_else(|| format!("an order cannot be `{word}`").into())
    }
}
