//! What a handler may return: nothing, an event, or several.

use crate::context::EventContext;
use crate::event::Event;
use crate::event::EventType;

/// What a handler puts out: `()`, an event, `Option<E>`, `Vec<E>`, or a tuple of outputs.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "this is not an output",
    note = "an output is `()`, an event `E`, `Option<E>`, `Vec<E>`, or a tuple of these",
    note = "if `{Self}` should be an event, add: impl Event for {Self} {{ const NAME: &'static str = \"domain.verb\"; }}"
)]
pub trait Output: Send + 'static {
    #[doc(hidden)]
    fn declare(outputs: &mut Outputs);
    #[doc(hidden)]
    fn publish(self, ctx: &EventContext);
}

/// The events that a handler can put out.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Outputs(pub(crate) Vec<EventType>);

#[diagnostic::do_not_recommend]
impl<E: Event> Output for E {
    fn declare(outputs: &mut Outputs) {
        outputs.0.push(EventType::of::<E>());
    }

    fn publish(self, ctx: &EventContext) {
        ctx.publish(self);
    }
}

impl<E: Event> Output for Option<E> {
    fn declare(outputs: &mut Outputs) {
        E::declare(outputs);
    }

    fn publish(self, ctx: &EventContext) {
        if let Some(event) = self {
            ctx.publish(event);
        }
    }
}

impl<E: Event> Output for Vec<E> {
    fn declare(outputs: &mut Outputs) {
        E::declare(outputs);
    }

    fn publish(self, ctx: &EventContext) {
        for event in self {
            ctx.publish(event);
        }
    }
}

macro_rules! tuple_output {
    ($($part:ident),*) => {
        impl<$($part: Output),*> Output for ($($part,)*) {
            fn declare(_outputs: &mut Outputs) {
                $($part::declare(_outputs);)*
            }

            #[allow(non_snake_case)] // the parts are bound under the names of their types
            fn publish(self, _ctx: &EventContext) {
                let ($($part,)*) = self;
                $($part.publish(_ctx);)*
            }
        }
    };
}

tuple_output!();
tuple_output!(A);
tuple_output!(A, B);
tuple_output!(A, B, C);
tuple_output!(A, B, C, D);
tuple_output!(A, B, C, D, E);
tuple_output!(A, B, C, D, E, F);
