//! Which shard may be read when.

use super::*;

fn child(shard: &str, parents: &[&str]) -> Child {
    let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
    Child { shard: shard.to_owned(), parents }
}

#[test]
fn a_child_waits_for_all_its_parents_that_are_read() {
    let mut lineage = Lineage::default();
    assert_eq!(lineage.begin(vec![child("a", &["gone"]), child("b", &[])]), ["a", "b"]);
    let merged = || vec![child("c", &["a", "b"])];
    assert!(lineage.end("a", merged()).is_empty());
    assert_eq!(lineage.end("b", merged()), ["c"]);
    let halves = vec![child("d", &["c"]), child("e", &["c"])];
    assert_eq!(lineage.end("c", halves), ["d", "e"]);
    // One of the two had ended before this began.
    assert_eq!(lineage.end("d", vec![child("f", &["d", "before"])]), ["f"]);
}

#[test]
fn children_that_are_listed_beside_their_parents_wait_for_them() {
    let mut lineage = Lineage::default();
    let all =
        vec![child("a", &[]), child("b", &["a"]), child("c", &["a"]), child("d", &["b", "c"])];
    assert_eq!(lineage.begin(all), ["a"]);
    assert_eq!(lineage.end("a", vec![child("b", &["a"]), child("c", &["a"])]), ["b", "c"]);
    assert!(lineage.end("b", vec![child("d", &["b", "c"])]).is_empty());
    assert_eq!(lineage.end("c", Vec::new()), ["d"]);
}
