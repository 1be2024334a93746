//! Random numbers from a seed, so that a run can be repeated: `SplitMix64` (G. L. Steele, D. Lea, C. H. Flood, 2014).

use std::time::Duration;

/// A sequence of numbers that is the same for the same seed and topic.
#[derive(Clone, Debug)]
pub struct SeededRandom(u64);

impl SeededRandom {
    /// The sequence for a seed and a topic, independent of those for other topics.
    #[must_use]
    pub fn new(seed: u64, topic: u64) -> Self {
        let mut random = Self(seed ^ 0x9E37_79B9_7F4A_7C15);
        random.0 = random.next_u64() ^ topic;
        random
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.next_u64() % u64::from(bound.max(1))).expect("less than the bound")
    }

    /// A number in `range`, which must not be empty.
    pub fn in_range(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.next_u64() % (range.end - range.start)
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.next_u64() % choices.len() as u64).expect("an index")]
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// A duration of 0 to `max_ms` milliseconds, both included.
    pub fn up_to_millis(&mut self, max_ms: u32) -> Duration {
        Duration::from_millis(self.below(max_ms + 1).into())
    }

    /// A duration of so many milliseconds.
    pub fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.in_range(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_topic_gives_others() {
        let numbers = |seed, topic| {
            let mut random = SeededRandom::new(seed, topic);
            [random.next_u64(), random.next_u64(), random.next_u64()]
        };
        assert_eq!(numbers(7, 1), numbers(7, 1));
        assert_ne!(numbers(7, 1), numbers(7, 2));
        assert_ne!(numbers(7, 1), numbers(8, 1));
    }

    #[test]
    fn a_number_lies_in_its_range() {
        let mut random = SeededRandom::new(1, 0);
        for _ in 0..1000 {
            assert!(random.below(3) < 3);
            assert!((5..9).contains(&random.in_range(5..9)));
            assert!(random.up_to_millis(10) <= Duration::from_millis(10));
            assert!([2, 4].contains(&random.pick(&[2, 4])));
        }
    }
}
