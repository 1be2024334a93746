//! Chance, from a seed: `SplitMix64` (G. L. Steele, D. Lea, C. H. Flood, 2014).

/// A stream of numbers that is the same for the same seed.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream for a seed and a topic, independent of those for other topics.
    pub(crate) fn of(seed: u64, topic: u64) -> Self {
        let mut rng = Self(seed ^ 0x9E37_79B9_7F4A_7C15);
        rng.0 = rng.next() ^ topic;
        rng
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.next() % u64::from(bound.max(1))).expect("less than the bound")
    }

    /// True `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// A time of up to `ms` milliseconds.
    pub(crate) fn millis(&mut self, ms: u32) -> std::time::Duration {
        std::time::Duration::from_millis(self.below(ms + 1).into())
    }
}
