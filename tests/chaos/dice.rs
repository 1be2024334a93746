//! Chance that can be had again: the same seed, the same throws (`SplitMix64`).

use std::ops::Range;
use std::time::Duration;

/// A source of chance.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// One that depends on `seed` and on `who` throws.
    pub(crate) fn new(seed: u64, who: u64) -> Self {
        let mut dice = Self(seed ^ who.wrapping_mul(0xD134_2543_DE82_EF95));
        dice.next();
        dice
    }

    /// A number of `range`.
    pub(crate) fn throw(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// A time of so many milliseconds.
    pub(crate) fn millis(&mut self, range: Range<u64>) -> Duration {
        Duration::from_millis(self.throw(range))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}
