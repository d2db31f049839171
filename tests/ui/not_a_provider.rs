//! Only what can tell who a client is can be a provider.

use callboard::auth::Provider;

struct Guests;

fn main() {
    let _: Box<dyn Provider> = Box::new(Guests);
}
