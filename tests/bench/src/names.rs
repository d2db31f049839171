//! A thousand event names: an event's name is a constant of its type, so these are a thousand types.

use actix::prelude::*;
use callboard::{Delivery, Event, HandlerResult, Subscriber};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::peers::Known;

/// An event whose name ends in three digits.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Numbered<const A: u8, const B: u8, const C: u8> {}

impl<const A: u8, const B: u8, const C: u8> Numbered<A, B, C> {
    const BYTES: [u8; 10] =
        [b'b', b'e', b'n', b'c', b'h', b'.', b'n', b'0' + A, b'0' + B, b'0' + C];
}

impl<const A: u8, const B: u8, const C: u8> Event for Numbered<A, B, C> {
    const NAME: &'static str = match std::str::from_utf8(&Self::BYTES) {
        Ok(name) => name,
        Err(_) => panic!("digits are UTF-8"),
    };
}

/// Takes them all.
pub(crate) struct Archive;

impl Actor for Archive {
    type Context = Context<Self>;
}

impl<const A: u8, const B: u8, const C: u8> Handler<Delivery<Numbered<A, B, C>>> for Archive {
    type Result = HandlerResult<()>;

    fn handle(&mut self, _: Delivery<Numbered<A, B, C>>, _: &mut Context<Self>) -> Self::Result {
        Ok(())
    }
}

/// A handler that makes so many names known.
pub(crate) fn subscriber(known: Known) -> Subscriber<Archive> {
    let archive = Subscriber::new(|| Archive);
    match known {
        Known::Few => ten::<0, 0>(archive),
        Known::Many => thousand(archive),
    }
}

type S = Subscriber<Archive>;

fn ten<const A: u8, const B: u8>(s: S) -> S {
    let s = s.on::<Numbered<A, B, 0>, ()>().on::<Numbered<A, B, 1>, ()>();
    let s = s.on::<Numbered<A, B, 2>, ()>().on::<Numbered<A, B, 3>, ()>();
    let s = s.on::<Numbered<A, B, 4>, ()>().on::<Numbered<A, B, 5>, ()>();
    let s = s.on::<Numbered<A, B, 6>, ()>().on::<Numbered<A, B, 7>, ()>();
    s.on::<Numbered<A, B, 8>, ()>().on::<Numbered<A, B, 9>, ()>()
}

fn hundred<const A: u8>(s: S) -> S {
    let s = ten::<A, 4>(ten::<A, 3>(ten::<A, 2>(ten::<A, 1>(ten::<A, 0>(s)))));
    ten::<A, 9>(ten::<A, 8>(ten::<A, 7>(ten::<A, 6>(ten::<A, 5>(s)))))
}

fn thousand(s: S) -> S {
    let s = hundred::<4>(hundred::<3>(hundred::<2>(hundred::<1>(hundred::<0>(s)))));
    hundred::<9>(hundred::<8>(hundred::<7>(hundred::<6>(hundred::<5>(s)))))
}
