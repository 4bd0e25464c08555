//! A small hash that is the same in every build: digests and rendezvous choices cross processes.

use crate::ids::{Fence, LeaseKey, WorkerId};

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a over the bytes, then a finalizer (splitmix64) that spreads them over all bits.
pub fn of_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let folded = bytes
        .iter()
        .fold(OFFSET ^ seed, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    mix(folded)
}

/// Spreads a number over all 64 bits (the finalizer of splitmix64).
pub fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What a held lease adds to a digest.
pub fn of_lease(key: &LeaseKey, fence: Fence) -> u64 {
    of_bytes(fence.0, key.as_str().as_bytes())
}

/// The hash of a worker's or a lease's name.
pub fn of_name(name: &str) -> u64 {
    of_bytes(0, name.as_bytes())
}

/// How close a worker is to a lease, by the hashes of their names. Both are well mixed, so one
/// multiplication is enough; a plan computes a million of these.
pub fn closeness(worker: u64, lease: u64) -> u64 {
    (worker ^ lease).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// How much a worker wants a lease; among equals the highest gets it (rendezvous hashing).
pub fn affinity(worker: &WorkerId, lease: &LeaseKey) -> u64 {
    closeness(of_name(worker.as_str()), of_name(lease.as_str()))
}
