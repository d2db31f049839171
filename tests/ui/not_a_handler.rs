//! Only a handler can be mounted as one.

struct Register;

fn domain() -> callboard::Domain {
    callboard::Domain::new("user").handler(Register)
}

fn main() {}
