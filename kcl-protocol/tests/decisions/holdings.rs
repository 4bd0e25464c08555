//! What is held, and which fences are spent.

use kcl_protocol::{Checkpoint, Fence, HeldDigest, Holdings, Lease, Rules, Standing};

use super::{id, key, lease};

fn holding(leases: &[(&str, u64)]) -> Holdings {
    let mut holdings = Holdings::default();
    for (name, fence) in leases {
        assert!(holdings.hold(&key(name), Fence(*fence)));
    }
    holdings
}

#[test]
fn what_is_held_shows_in_number_order_and_digest() {
    let holdings = holding(&[("b", 2), ("a", 1)]);
    assert!(!holdings.is_empty() && Holdings::default().is_empty());
    assert_eq!((holdings.len(), holdings.load()), (2, 2));
    let shown: Vec<_> = holdings.iter().collect();
    assert_eq!(shown, [(&key("a"), Fence(1)), (&key("b"), Fence(2))]);
    let mut digest = HeldDigest::default();
    digest.add(&key("a"), Fence(1));
    digest.add(&key("b"), Fence(2));
    assert_eq!(holdings.digest(), digest);
    assert_ne!(holdings.digest(), holding(&[("a", 1), ("b", 3)]).digest());
    assert_eq!(holdings.rules(), Rules::ALL);
    assert_eq!(holdings.clone().with_rules(Rules::ALL), holdings);
}

#[test]
fn parked_leases_are_held_and_are_no_load() {
    let mut holdings = holding(&[("a", 1), ("b", 1)]);
    holdings.set_parked(&key("a"), true);
    holdings.set_parked(&key("elsewhere"), true);
    assert_eq!((holdings.len(), holdings.load()), (2, 1));
    holdings.set_parked(&key("a"), false);
    assert_eq!(holdings.load(), 2);
    holdings.set_parked(&key("a"), true);
    holdings.spend(&key("a"), Fence(1));
    assert!(holdings.hold(&key("a"), Fence(2)));
    assert_eq!(holdings.load(), 2, "a lease that comes back is not parked");
    assert!(holdings.hold(&key("elsewhere"), Fence(1)));
    assert_eq!(holdings.load(), 3, "what was not held was not parked");
}

#[test]
fn a_spent_fence_and_all_below_are_never_held_again() {
    let mut holdings = holding(&[("a", 4)]);
    assert!(holdings.spend(&key("a"), Fence(4)));
    assert_eq!(holdings.fence(&key("a")), None);
    for fence in [3, 4] {
        assert!(holdings.is_spent(&key("a"), Fence(fence)));
        assert!(!holdings.hold(&key("a"), Fence(fence)));
    }
    assert_eq!(holdings.fence(&key("a")), None);
    assert!(!holdings.is_spent(&key("a"), Fence(5)) && !holdings.is_spent(&key("b"), Fence(1)));
    assert!(holdings.hold(&key("a"), Fence(5)));
}

#[test]
fn spending_an_older_fence_leaves_what_is_held_and_what_was_spent() {
    let mut holdings = holding(&[("a", 4)]);
    assert!(!holdings.spend(&key("a"), Fence(3)));
    assert_eq!(holdings.fence(&key("a")), Some(Fence(4)));
    assert!(holdings.spend(&key("a"), Fence(7)), "held below it");
    assert!(!holdings.spend(&key("a"), Fence(2)));
    assert!(holdings.is_spent(&key("a"), Fence(7)));
}

#[test]
fn letting_go_spends_the_fence_before_anything_is_sent() {
    let mut holdings = holding(&[("a", 4)]);
    holdings.lets_go(&key("a"), Fence(4));
    assert!(holdings.fence(&key("a")).is_none() && holdings.is_spent(&key("a"), Fence(4)));
}

#[test]
fn a_revocation_says_whether_the_lease_was_held() {
    let mut holdings = holding(&[("a", 4)]);
    assert!(!holdings.revoke(&key("b"), Fence(4)));
    assert!(holdings.is_spent(&key("b"), Fence(4)));
    assert!(holdings.revoke(&key("a"), Fence(4)));
}

#[test]
fn a_row_means_what_owner_fence_and_end_say() {
    let mut holdings = holding(&[("a", 4)]);
    let (me, mine) = (id("me"), |fence| lease(Some("me"), fence));
    assert_eq!(holdings.standing(&mine(4), &me), Standing::Held);
    assert_eq!(holdings.standing(&mine(5), &me), Standing::Hold);
    assert_eq!(holdings.standing(&lease(Some("other"), 5), &me), Standing::NotMine);
    assert_eq!(holdings.standing(&lease(None, 5), &me), Standing::NotMine);
    holdings.spend(&key("a"), Fence(5));
    assert_eq!(holdings.standing(&mine(5), &me), Standing::Adopt);
    assert_eq!(holdings.standing(&mine(6), &me), Standing::Hold);
    let ended = Lease { checkpoint: Checkpoint::ShardEnd, ..mine(6) };
    assert_eq!(holdings.standing(&ended, &me), Standing::Ended);
}
