//! What tokens cost, in whatever unit the operator counts money in; whole millionths of it here.

/// What a million tokens of a model cost, in millionths of the operator's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Of those sent.
    pub input_micros: u64,
    /// Of those it answers with.
    pub output_micros: u64,
}

/// Tokens that a price is for.
const MILLION: u128 = 1_000_000;

impl Price {
    /// What these tokens cost, in millionths of the operator's unit; a part of one is a whole one.
    pub(super) fn of(self, prompt_tokens: u64, completion_tokens: u64) -> u64 {
        let sent = u128::from(prompt_tokens) * u128::from(self.input_micros);
        let received = u128::from(completion_tokens) * u128::from(self.output_micros);
        u64::try_from(sent.saturating_add(received).div_ceil(MILLION)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_cost_what_the_price_says_and_parts_are_rounded_up() {
        let price = Price { input_micros: 2_000_000, output_micros: 8_000_000 };
        assert_eq!(price.of(1_000_000, 0), 2_000_000, "two units for a million");
        assert_eq!(price.of(1000, 500), 2000 + 4000);
        let cheap = Price { input_micros: 50_000, output_micros: 0 };
        assert_eq!((cheap.of(1, 0), cheap.of(20, 0), cheap.of(21, 0), cheap.of(0, 7)), (1, 1, 2, 0));
        assert_eq!(
            Price { input_micros: u64::MAX, output_micros: u64::MAX }.of(u64::MAX, u64::MAX),
            u64::MAX
        );
    }
}
