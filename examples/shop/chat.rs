//! The chat domain: what a client says in a room goes to everybody who listens there.

use callboard::prelude::*;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::invalid::invalid;

/// The longest text, in characters.
const TEXT_MAX: usize = 2000;

/// The longest name of a room, in characters.
const ROOM_MAX: usize = 100;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChatSend {
    pub room: String,
    pub text: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ChatSent {
    pub room: String,
    pub text: String,
    /// The session that sent it, as the server knows it: a client cannot choose the name.
    pub sent_by: String,
    pub sent_at: DateTime<Utc>,
}

impl Event for ChatSend {
    const NAME: &'static str = "chat.send";
}
impl Event for ChatSent {
    const NAME: &'static str = "chat.sent";
}
impl Replies for ChatSend {
    type Reply = ChatSent;
}

pub fn domain() -> Domain {
    Domain::new("chat").handler(Post)
}

#[derive(Clone)]
struct Post;

impl EventHandler for Post {
    type Input = ChatSend;
    type Output = ChatSent;

    async fn handle(&self, said: &ChatSend, ctx: &EventContext) -> HandlerResult<ChatSent> {
        check("room", &said.room, ROOM_MAX)?;
        check("text", &said.text, TEXT_MAX)?;
        let ChatSend { room, text } = said.clone();
        let (sent_by, sent_at) = (ctx.source().to_owned(), ctx.timestamp().into());
        Ok(ChatSent { room, text, sent_by, sent_at })
    }

    fn policy(&self) -> Policy {
        // A room reads its messages in the order in which they were sent.
        Policy::default().concurrency(1)
    }
}

fn check(field: &str, text: &str, characters_max: usize) -> HandlerResult<()> {
    if text.trim().is_empty() {
        return Err(invalid(field, format!("{field} is empty")));
    }
    if text.chars().count() > characters_max {
        let message = format!("{field} is longer than {characters_max} characters");
        return Err(invalid(field, message));
    }
    Ok(())
}
