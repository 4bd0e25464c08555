//! Which shard may be read when.

use super::*;

fn child(shard: &str, parents: &[&str]) -> Child {
    let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
    Child { shard: shard.to_owned(), parents }
}

fn begin(lineage: &mut Lineage, listed: Vec<Child>) -> Vec<String> {
    lineage.begin(listed, &BTreeSet::new())
}

#[test]
fn a_child_waits_for_all_its_parents_that_are_read() {
    let mut lineage = Lineage::default();
    assert_eq!(begin(&mut lineage, vec![child("a", &["gone"]), child("b", &[])]), ["a", "b"]);
    let merged = || vec![child("c", &["a", "b"])];
    assert!(lineage.end("a", merged()).is_empty());
    assert_eq!(lineage.end("b", merged()), ["c"]);
    let halves = vec![child("d", &["c"]), child("e", &["c"])];
    assert_eq!(lineage.end("c", halves), ["d", "e"]);
    // One of the two had ended before this began.
    assert_eq!(lineage.end("d", vec![child("f", &["d", "before"])]), ["f"]);
}

#[test]
fn a_split_has_two_children_unless_it_is_too_old_to_be_listed_itself() {
    let half = child("b", &["a"]);
    assert!(!has_all_children("a", &[child("a", &[]), child("b", &["a"])]));
    assert!(has_all_children("a", &[child("a", &[]), child("b", &["a"]), child("c", &["a"])]));
    assert!(has_all_children("a", &[child("a", &[]), child("c", &["a", "b"])]), "a merge");
    assert!(has_all_children("a", &[half]));
    assert!(!has_all_children("a", &[child("b", &["other"])]));
}

#[test]
fn children_that_are_listed_beside_their_parents_wait_for_them() {
    let mut lineage = Lineage::default();
    let all =
        vec![child("a", &[]), child("b", &["a"]), child("c", &["a"]), child("d", &["b", "c"])];
    assert_eq!(begin(&mut lineage, all), ["a"]);
    assert_eq!(lineage.end("a", vec![child("b", &["a"]), child("c", &["a"])]), ["b", "c"]);
    assert!(lineage.end("b", vec![child("d", &["b", "c"])]).is_empty());
    assert_eq!(lineage.end("c", Vec::new()), ["d"]);
}

#[test]
fn a_merged_shard_waits_for_a_parent_that_is_to_come_out_of_one_being_read() {
    let mut lineage = Lineage::default();
    assert_eq!(begin(&mut lineage, vec![child("a", &[]), child("y", &[])]), ["a", "y"]);
    let halves = || vec![child("x", &["y"]), child("z", &["y"])];
    let merged = || child("m", &["a", "x"]);
    let all = [halves(), vec![merged()]].into_iter().flatten().collect();
    assert!(lineage.end("a", all).is_empty());
    assert_eq!(lineage.end("y", halves()), ["x", "z"]);
    assert!(lineage.end("z", vec![child("n", &["z", "m"])]).is_empty());
    assert_eq!(lineage.end("x", vec![merged()]), ["m"]);
    assert_eq!(lineage.end("m", vec![child("n", &["z", "m"])]), ["n"]);
}

#[test]
fn what_is_past_is_not_waited_for_and_what_comes_out_of_a_shard_being_read_is() {
    let mut lineage = Lineage::default();
    let past = ["gone", "b"].map(str::to_owned).into();
    let listed = vec![
        child("gone", &[]),
        child("a", &["gone"]),
        child("b", &["a"]),
        child("c", &["b"]),
        child("d", &["b"]),
    ];
    assert_eq!(lineage.begin(listed, &past), ["a"]);
    assert_eq!(lineage.end("a", vec![child("b", &["a"])]), ["b"]);
    assert_eq!(lineage.end("b", vec![child("c", &["b"]), child("d", &["b"])]), ["c", "d"]);
}
