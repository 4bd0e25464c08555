//! Sorts the records of one put by shard.

/// Places of records, grouped by shard, in their order within each.
pub(crate) struct Groups {
    places: Vec<u32>,
    /// Group `slot` is `places[starts[slot]..starts[slot + 1]]`.
    starts: Vec<u32>,
}

impl Groups {
    /// Groups `places` by the slot (below `slots`) of each, in one pass over both.
    pub(crate) fn new(places: &[u32], slots: usize, slot_of: impl Fn(u32) -> usize) -> Self {
        let slot_of_each: Vec<u32> = places.iter().map(|place| slot_of(*place) as u32).collect();
        let mut starts = vec![0u32; slots + 1];
        for slot in &slot_of_each {
            starts[*slot as usize + 1] += 1;
        }
        for slot in 0..slots {
            starts[slot + 1] += starts[slot];
        }
        let mut ends = starts.clone();
        let mut grouped = vec![0u32; places.len()];
        for (place, slot) in places.iter().zip(&slot_of_each) {
            let end = &mut ends[*slot as usize];
            grouped[*end as usize] = *place;
            *end += 1;
        }
        Self { places: grouped, starts }
    }

    /// Slots that have records, with their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &[u32])> {
        let bounds = self.starts.windows(2).enumerate();
        bounds
            .map(|(slot, bound)| (slot, &self.places[bound[0] as usize..bound[1] as usize]))
            .filter(|(_, places)| !places.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keep_the_order_of_places() {
        let slots = [2usize, 0, 2, 2, 0, 1];
        let groups = Groups::new(&[0, 1, 3, 4, 5], 4, |place| slots[place as usize]);
        let all: Vec<_> = groups.iter().map(|(slot, places)| (slot, places.to_vec())).collect();
        assert_eq!(all, [(0, vec![1, 4]), (1, vec![5]), (2, vec![0, 3])]);
    }
}
