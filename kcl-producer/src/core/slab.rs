//! Records the producer holds, and queues of them without an allocation for each.

/// Stands for "none".
const NONE: u32 = u32::MAX;

/// Where a record is; good until it is removed.
pub(crate) type Id = u32;

/// Values with a link each. Bounded by whoever inserts.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Queue,
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    next: Id,
}

/// A queue of values of one slab. A value is in one queue at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    head: Id,
    tail: Id,
    len: usize,
}

impl Default for Queue {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0 }
    }
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.len
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
    pub(crate) fn first(&self) -> Option<Id> {
        (self.len > 0).then_some(self.head)
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Queue::default() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, value: T) -> Id {
        let mut free = self.free;
        if let Some(id) = self.pop_front(&mut free) {
            self.free = free;
            self.slots[id as usize].value = Some(value);
            return id;
        }
        let id = u32::try_from(self.slots.len()).unwrap_or(NONE);
        assert!(id != NONE, "the producer's memory bounds its records far below this");
        self.slots.push(Slot { value: Some(value), next: NONE });
        id
    }

    /// `None` if it was removed before.
    pub(crate) fn remove(&mut self, id: Id) -> Option<T> {
        let value = self.slots.get_mut(id as usize)?.value.take()?;
        let mut free = self.free;
        self.push_back(&mut free, id);
        self.free = free;
        Some(value)
    }

    pub(crate) fn get(&self, id: Id) -> Option<&T> {
        self.slots.get(id as usize)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: Id) -> Option<&mut T> {
        self.slots.get_mut(id as usize)?.value.as_mut()
    }

    pub(crate) fn push_back(&mut self, queue: &mut Queue, id: Id) {
        self.slots[id as usize].next = NONE;
        match queue.len {
            0 => queue.head = id,
            _ => self.slots[queue.tail as usize].next = id,
        }
        queue.tail = id;
        queue.len += 1;
    }

    pub(crate) fn pop_front(&mut self, queue: &mut Queue) -> Option<Id> {
        let id = queue.first()?;
        queue.head = self.slots[id as usize].next;
        queue.len -= 1;
        Some(id)
    }

    /// What a queue holds, in order.
    pub(crate) fn ids(&self, queue: Queue) -> Vec<Id> {
        let next = |id: &Id| self.slots.get(*id as usize).map(|slot| slot.next);
        std::iter::successors(queue.first(), next).take(queue.len).collect()
    }

    /// Puts all of `before` in front of `queue`, in their order.
    pub(crate) fn prepend(&mut self, before: Queue, queue: &mut Queue) {
        if before.is_empty() {
            return;
        }
        if queue.is_empty() {
            *queue = before;
            return;
        }
        self.slots[before.tail as usize].next = queue.head;
        queue.head = before.head;
        queue.len += before.len;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn drain(slab: &mut Slab<u32>, queue: &mut Queue) -> Vec<u32> {
        let ids: Vec<_> = std::iter::from_fn(|| slab.pop_front(queue)).collect();
        ids.into_iter().filter_map(|id| slab.remove(id)).collect()
    }

    proptest! {
        #[test]
        fn queues_of_a_slab_are_queues(
            steps in prop::collection::vec((0usize..3, 0u8..4), 0..200),
        ) {
            let mut slab = Slab::default();
            let mut queues = [Queue::default(); 3];
            let mut model: [VecDeque<u32>; 3] = Default::default();
            for (number, (at, step)) in steps.into_iter().enumerate() {
                let number = number as u32;
                let other = (at + 1) % 3;
                match step {
                    0 | 1 => {
                        let id = slab.insert(number);
                        slab.push_back(&mut queues[at], id);
                        model[at].push_back(number);
                    }
                    2 => {
                        let id = slab.pop_front(&mut queues[at]);
                        prop_assert_eq!(id.and_then(|id| slab.remove(id)), model[at].pop_front());
                    }
                    _ => {
                        let before = std::mem::take(&mut queues[at]);
                        slab.prepend(before, &mut queues[other]);
                        let mut before = std::mem::take(&mut model[at]);
                        before.append(&mut model[other]);
                        model[other] = before;
                    }
                }
                prop_assert_eq!(queues[at].len(), model[at].len());
            }
            for (queue, model) in queues.iter_mut().zip(model) {
                prop_assert_eq!(drain(&mut slab, queue), Vec::from(model));
            }
        }
    }
}
