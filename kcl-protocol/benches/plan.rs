//! How long a plan takes: 10,000 shards over 200 workers, from even to far from it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use kcl_protocol::assign::{Load, Member, Readiness, plan};
use kcl_protocol::{LeaseKey, Reads, WorkerId, hash};

const SHARDS: usize = 10_000;
const WORKERS: usize = 200;

fn members(capacity: u32) -> Vec<Member> {
    let member = |number: usize| Member {
        id: WorkerId::from(format!("worker-{number:032x}")),
        draining: false,
        capacity,
        reads: Reads::TheOne,
    };
    (0..WORKERS).map(member).collect()
}

fn loads(members: &[Member], owners: usize, heaviest: u64) -> Vec<Load> {
    let load = |number: usize| Load {
        key: LeaseKey::from(format!("shardId-{number:012}")),
        owner: (owners > 0).then(|| members[number % owners].id.clone()),
        weight: 1 + hash::mix(number as u64) % heaviest,
        readiness: Readiness::Ready,
    };
    (0..SHARDS).map(load).collect()
}

fn plans(criterion: &mut Criterion) {
    let kinds = [
        ("", 1, u32::MAX),
        (", weights to 20", 20, u32::MAX),
        (", weights to 1,000,000", 1_000_000, u32::MAX),
        (", room for 50 each", 1, 50),
        (", room for 40 each", 1, 40),
    ];
    for (kind, heaviest, capacity) in kinds {
        for (owned, owners) in [
            ("unowned", 0),
            ("one owner", 1),
            ("10 owners", 10),
            ("100 owners", 100),
            ("one joined", WORKERS - 1),
            ("even", WORKERS),
        ] {
            let members = members(capacity);
            let loads = loads(&members, owners, heaviest);
            criterion.bench_function(&format!("plan 10,000 over 200, {owned}{kind}"), |bencher| {
                bencher.iter(|| plan(black_box(&members), black_box(&loads)));
            });
        }
    }
}

criterion_group!(benches, plans);
criterion_main!(benches);
