//! The MD5 of many keys at once: eight lie side by side in the lanes of vector instructions, which
//! the compiler makes of plain loops over eight numbers (RFC 1321).

use crate::record::RecordRef;

const LANES: usize = 8;
type Lanes = [u32; LANES];

/// Keys longer than this take more than one block.
const ONE_BLOCK: usize = 55;

const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// The whole parts of 2^32 times the sines of 1 to 64.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

#[inline(always)]
fn map(a: Lanes, b: Lanes, of: impl Fn(u32, u32) -> u32) -> Lanes {
    std::array::from_fn(|lane| of(a[lane], b[lane]))
}

/// One of the four rounds: what mixes three words, and which word of the block each step takes.
#[inline(always)]
fn round(
    state: &mut [Lanes; 4],
    block: &[Lanes; 16],
    number: usize,
    mix: impl Fn(u32, u32, u32) -> u32,
    word: impl Fn(usize) -> usize,
) {
    for step in 0..16 {
        let [a, b, c, d] = *state;
        let mixed: Lanes = std::array::from_fn(|lane| mix(b[lane], c[lane], d[lane]));
        let sine = SINES[16 * number + step];
        let added = map(a, mixed, u32::wrapping_add);
        let added = map(added, block[word(step) % 16], |sum, word| {
            sum.wrapping_add(word).wrapping_add(sine)
        });
        let shift = SHIFTS[number][step % 4];
        let turned = map(added, b, |sum, b| sum.rotate_left(shift).wrapping_add(b));
        *state = [d, turned, b, c];
    }
}

/// The MD5 of eight texts of at most 55 bytes, each read as a big-endian number.
fn eight(keys: [&[u8]; LANES]) -> [u128; LANES] {
    let mut block = [[0u32; LANES]; 16];
    for (lane, key) in keys.into_iter().enumerate() {
        let mut bytes = [0u8; 64];
        bytes[..key.len()].copy_from_slice(key);
        bytes[key.len()] = 0x80;
        bytes[56..].copy_from_slice(&(8 * key.len() as u64).to_le_bytes());
        for (word, four) in block.iter_mut().zip(bytes.as_chunks::<4>().0) {
            word[lane] = u32::from_le_bytes(*four);
        }
    }
    let first = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476].map(|word| [word; LANES]);
    let mut state = first;
    round(&mut state, &block, 0, |b, c, d| d ^ (b & (c ^ d)), |step| step);
    round(&mut state, &block, 1, |b, c, d| c ^ (d & (b ^ c)), |step| 5 * step + 1);
    round(&mut state, &block, 2, |b, c, d| b ^ c ^ d, |step| 3 * step + 5);
    round(&mut state, &block, 3, |b, c, d| c ^ (b | !d), |step| 7 * step);
    let [a, b, c, d] = std::array::from_fn(|at| map(state[at], first[at], u32::wrapping_add));
    std::array::from_fn(|lane| {
        let words = [a[lane], b[lane], c[lane], d[lane]];
        words.iter().fold(0, |all, word| (all << 32) | u128::from(word.swap_bytes()))
    })
}

/// Where each record belongs, as [`RecordRef::hash_key`] says.
pub(crate) fn hash_keys(records: &[RecordRef<'_>]) -> Vec<u128> {
    let mut hashed = Vec::with_capacity(records.len());
    for group in records.chunks(LANES) {
        let is_short = |record: &RecordRef<'_>| record.partition_key.len() <= ONE_BLOCK;
        // Without optimization eight at once take longer than one after the other.
        if cfg!(debug_assertions) || group.len() < LANES / 2 || !group.iter().all(is_short) {
            hashed.extend(group.iter().map(RecordRef::hash_key));
            continue;
        }
        let key = |lane: usize| group.get(lane).map_or("", |record| record.partition_key);
        let all = eight(std::array::from_fn(|lane| key(lane).as_bytes()));
        let pick =
            |(record, hash): (&RecordRef<'_>, u128)| record.explicit_hash_key.unwrap_or(hash);
        hashed.extend(group.iter().zip(all).map(pick));
    }
    hashed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::hash_key;

    proptest! {
        #[test]
        fn eight_at_once_are_what_each_is_alone(keys in prop::array::uniform8(".{0,13}")) {
            let all = eight(std::array::from_fn(|lane| keys[lane].as_bytes()));
            for (key, hash) in keys.iter().zip(all) {
                prop_assert_eq!(hash, hash_key(key));
            }
        }

        #[test]
        fn many_are_what_each_is_alone(
            records in prop::collection::vec((".{1,40}", prop::option::of(any::<u128>())), 0..40),
        ) {
            let refs: Vec<_> = records.iter().map(|(key, explicit_hash_key)| RecordRef {
                partition_key: key,
                data: b"",
                explicit_hash_key: *explicit_hash_key,
            }).collect();
            let alone: Vec<_> = refs.iter().map(RecordRef::hash_key).collect();
            prop_assert_eq!(hash_keys(&refs), alone);
        }
    }

    #[test]
    fn a_key_of_55_bytes_fits_one_block() {
        let key = "x".repeat(55);
        assert_eq!(eight([key.as_bytes(); 8]), [hash_key(&key); 8]);
    }
}
