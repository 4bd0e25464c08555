//! How long a plan takes: 10,000 shards over 200 workers.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kcl_protocol::assign::{Load, Member, plan};
use kcl_protocol::{LeaseKey, WorkerId};

fn plans(criterion: &mut Criterion) {
    let members: Vec<Member> = (0..200)
        .map(|number| Member {
            id: WorkerId::from(format!("worker-{number:032x}")),
            draining: false,
            capacity: u32::MAX,
        })
        .collect();
    let loads = |owners: usize| -> Vec<Load> {
        let load = |number: usize| Load {
            key: LeaseKey::from(format!("shardId-{number:012}")),
            owner: (owners > 0).then(|| members[number % owners].id.clone()),
            weight: 1,
        };
        (0..10_000).map(load).collect()
    };
    for (name, loads) in
        [("unowned", loads(0)), ("one joined", loads(199)), ("balanced", loads(200))]
    {
        criterion.bench_function(&format!("plan 10,000 over 200, {name}"), |bencher| {
            bencher.iter(|| plan(black_box(&members), black_box(&loads)));
        });
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);
