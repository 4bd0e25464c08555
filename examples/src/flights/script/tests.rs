use super::*;
use kcl_core::protocol::HashKeyRange;

fn shard(number: u32, range: (u128, u128), parent: Option<u32>) -> Shard {
    let id = |number: u32| ShardId::from(format!("shardId-{number:012}"));
    Shard {
        id: id(number),
        parents: parent.map(id).into_iter().collect(),
        range: HashKeyRange { start: range.0, end: range.1 },
        is_open: true,
        tip: None,
    }
}

/// Children in the pair that is merged, after one of so many shards was split.
fn children_merged(shards: u32, split: u32) -> usize {
    let ranges = (0..shards).map(|at| (at, (u128::from(at) * 10, u128::from(at) * 10 + 9)));
    let open: Vec<_> = ranges
        .flat_map(|(at, (start, end))| match at == split {
            false => vec![shard(at, (start, end), None)],
            true => vec![
                shard(shards, (start, start + 4), Some(split)),
                shard(shards + 1, (start + 5, end), Some(split)),
            ],
        })
        .collect();
    let split = shard(split, (0, 0), None).id;
    let pair = coldest_pair(&open, Some(&split), &Records::new()).unwrap();
    assert_eq!(pair[0].range.end + 1, pair[1].range.start);
    pair.iter().filter(|shard| !shard.parents.is_empty()).count()
}

#[test]
fn whichever_of_four_shards_is_split_two_others_are_merged() {
    assert_eq!((0..4).map(|split| children_merged(4, split)).max(), Some(0));
}

#[test]
fn with_fewer_shards_a_child_is_merged_only_where_no_two_others_touch() {
    let of_three: Vec<_> = (0..3).map(|split| children_merged(3, split)).collect();
    assert_eq!(of_three, [0, 1, 0]);
    assert_eq!((children_merged(2, 0), children_merged(2, 1)), (1, 1));
    assert_eq!(children_merged(1, 0), 2);
}

#[test]
fn the_hottest_is_split_and_the_coldest_are_merged() {
    let open: Vec<_> = (0..4u32)
        .map(|at| shard(at, (u128::from(at) * 10, u128::from(at) * 10 + 9), None))
        .collect();
    let counts = [5, 9, 2, 3];
    let records: Records =
        open.iter().zip(counts).map(|(shard, count)| (shard.id.clone(), count)).collect();
    assert_eq!(hottest(&open, &records).unwrap().id, open[1].id);
    assert_eq!(coldest_pair(&open, None, &records).unwrap()[0].id, open[2].id);
}

#[test]
fn an_act_has_settled_once_every_open_shard_is_at_a_running_worker() {
    let open: Vec<_> = (0..4).map(|at| shard(at, (0, 0), None)).collect();
    let worker = |name: &str| WorkerId::new(name);
    let at = |names: &[&str]| -> BTreeMap<ShardId, WorkerId> {
        let ids = open.iter().map(|shard| shard.id.clone());
        ids.zip(names.iter().map(|name| worker(name))).collect()
    };
    let running = [worker("a"), worker("b"), worker("c")];
    let judge = |act, names: &[&str]| is_spread(act, &open, &at(names), &running);
    assert!(judge(Act::Kill, &["a", "a", "a", "b"]));
    assert!(!judge(Act::Join, &["a", "a", "a", "b"]), "not spread");
    assert!(judge(Act::Join, &["a", "a", "c", "b"]));
    assert!(!judge(Act::Join, &["a", "a", "b", "b"]), "nothing at the one who joined");
    assert!(!judge(Act::Kill, &["a", "c", "b"]), "one is on its way");
    assert!(!judge(Act::ShutDown, &["a", "a", "dead", "b"]));
}

#[test]
fn the_feed_waits_for_each_act_and_runs_on_after_the_last() {
    let mut script = Script::new(1000);
    assert_eq!(script.full_pace_to(), 150);
    script.next = ACTS.len();
    script.pending = Some((Act::Merge, Moment::default()));
    assert_eq!((script.full_pace_to(), script.is_over()), (900, false));
    assert_eq!(script.waits_for(), Some("the merged shard is processed"));
    assert!(!script.is_stuck(Moment(GIVE_UP - Duration::from_millis(1))));
    assert!(script.is_stuck(Moment(GIVE_UP)));
    script.pending = None;
    assert_eq!((script.full_pace_to(), script.is_over()), (1000, true));
}
