//! Only an event can be published.

struct Nameless;

async fn example(bus: callboard::Bus) {
    let _ = bus.publish(Nameless);
}

fn main() {}
