//! The price of a model's tokens, in whole millionths of the operator's unit of money.

/// The price of a million tokens of a model, in millionths of the operator's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Of tokens sent to the model.
    pub input_micros: u64,
    /// Of tokens that the model answers with.
    pub output_micros: u64,
}

/// The number of tokens that a price is for.
const MILLION: u128 = 1_000_000;

impl Price {
    /// The cost of an answer, in millionths of the operator's unit, rounded up.
    pub(crate) fn cost_micros(self, prompt_tokens: u64, completion_tokens: u64) -> u64 {
        let input = u128::from(prompt_tokens) * u128::from(self.input_micros);
        let output = u128::from(completion_tokens) * u128::from(self.output_micros);
        u64::try_from(input.saturating_add(output).div_ceil(MILLION)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_tokens_times_price_rounded_up() {
        let price = Price { input_micros: 2_000_000, output_micros: 8_000_000 };
        assert_eq!(price.cost_micros(1_000_000, 0), 2_000_000, "two units for a million");
        assert_eq!(price.cost_micros(1000, 500), 2000 + 4000);
        let cheap = Price { input_micros: 50_000, output_micros: 0 };
        assert_eq!(
            (
                cheap.cost_micros(1, 0),
                cheap.cost_micros(20, 0),
                cheap.cost_micros(21, 0),
                cheap.cost_micros(0, 7)
            ),
            (1, 1, 2, 0)
        );
        assert_eq!(
            Price { input_micros: u64::MAX, output_micros: u64::MAX }.cost_micros(u64::MAX, u64::MAX),
            u64::MAX
        );
    }
}
