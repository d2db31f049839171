//! Who meets a requirement, and what is missing to those who do not.

use callboard::Identity;
use callboard::auth::Requirement;
use proptest::prelude::*;

fn identity(permissions: &[&str]) -> Identity {
    let mut identity = Identity::new("ada");
    identity.permissions = permissions.iter().map(ToString::to_string).collect();
    identity
}

fn missing(requirement: &Requirement, permissions: &[&str]) -> Option<Vec<String>> {
    requirement.check(&identity(permissions)).err().map(|forbidden| forbidden.missing)
}

#[test]
fn all_any_and_both() {
    let all = Requirement::new().permissions_all(["a", "b"]);
    let any = Requirement::new().permissions_any(["a", "b"]);
    let both = all.clone().permissions_any(["c", "d"]);
    let two = any.clone().permissions_any(["c", "d"]);
    let nobody = Requirement::new().permissions_any([""; 0]);
    for (requirement, permissions, expected) in [
        (&Requirement::new(), &[][..], None),
        (&all, &["b", "a", "c"], None),
        (&all, &["b"], Some(&["a"][..])),
        (&all, &["A", "b "], Some(&["a", "b"])),
        (&any, &["b"], None),
        (&any, &["c", "ab", "*"], Some(&["a", "b"])),
        (&both, &["a", "b", "d"], None),
        (&both, &["a", "d"], Some(&["b"])),
        (&both, &["a", "b"], Some(&["c", "d"])),
        (&two, &["a", "d"], None),
        (&two, &["a", "b"], Some(&["c", "d"])),
        (&nobody, &["a", ""], Some(&[])),
    ] {
        let expected = expected.map(|names| names.iter().map(ToString::to_string).collect());
        assert_eq!(missing(requirement, permissions), expected, "{requirement:?} {permissions:?}");
    }
}

#[test]
fn a_requirement_that_nobody_can_meet_is_a_fault() {
    let new = Requirement::new;
    assert_eq!(new().fault(), None);
    assert_eq!(new().permissions_all(["a"]).permissions_any(["b"]).fault(), None);
    for faulty in [
        new().permissions_any([""; 0]),
        new().permissions_all(["a", ""]),
        new().permissions_any(["a b"]),
    ] {
        assert!(faulty.fault().is_some(), "{faulty:?}");
    }
}

#[test]
fn a_refusal_is_told_without_names() {
    let clerks = Requirement::new().permissions_all(["orders.secret"]);
    assert_eq!(clerks.permissions().collect::<Vec<_>>(), ["orders.secret"]);
    let forbidden = clerks.check(&identity(&[])).unwrap_err();
    assert_eq!(forbidden.code(), "forbidden");
    assert_eq!(
        forbidden.www_authenticate(),
        "Bearer error=\"insufficient_scope\", \
         error_description=\"the permissions do not suffice\""
    );
    assert!(!forbidden.to_string().contains("orders.secret"));
}

proptest! {
    /// More permissions never close a door.
    #[test]
    fn permissions_only_add(
        all in prop::collection::vec("[a-d]", 0..3),
        any in prop::collection::vec("[a-d]", 0..3),
        has in prop::collection::vec("[a-d]", 0..4),
        more in "[a-d]",
    ) {
        let requirement = Requirement::new().permissions_all(all).permissions_any(any);
        let mut identity = Identity::new("ada");
        identity.permissions = has;
        let before = requirement.check(&identity);
        identity.permissions.push(more);
        prop_assert!(before.is_err() || requirement.check(&identity).is_ok());
    }
}
