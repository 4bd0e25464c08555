//! Pseudo-random numbers from a seed: the same on every run.

/// Xorshift. The seed must not be 0.
pub struct Draw(pub u64);

impl Draw {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
    /// True once in `parts`.
    pub fn one_in(&mut self, parts: u64) -> bool {
        self.below(parts) == 0
    }
    /// Nothing once in `parts`.
    pub fn some<T>(&mut self, parts: u64, make: impl Fn(&mut Self) -> T) -> Option<T> {
        let none = self.one_in(parts);
        (!none).then(|| make(self))
    }
    /// Up to `most` values.
    pub fn several<T>(&mut self, most: u64, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }
}
