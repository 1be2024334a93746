//! The price of a model's tokens, in whole millionths of the operator's unit of money.

use crate::usage::parser::TokenCount;

/// The price of a million tokens of a model, in millionths of the operator's unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Price {
    /// Of tokens sent to the model.
    pub input_micros: u64,
    /// Of tokens sent to the model that the provider had cached; `None`: the same.
    pub cached_input_micros: Option<u64>,
    /// Of tokens that the model answers with.
    pub output_micros: u64,
}

/// The number of tokens that a price is for.
const MILLION: u128 = 1_000_000;

impl Price {
    /// The cost of an answer, in millionths of the operator's unit, rounded up.
    pub(crate) fn cost_micros(self, tokens: TokenCount) -> u64 {
        let TokenCount { prompt, cached, completion } = tokens;
        let times = |tokens: u64, micros: u64| u128::from(tokens) * u128::from(micros);
        let cost = times(prompt.saturating_sub(cached), self.input_micros)
            .saturating_add(times(cached, self.cached_input_micros.unwrap_or(self.input_micros)))
            .saturating_add(times(completion, self.output_micros));
        u64::try_from(cost.div_ceil(MILLION)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens sent, of which cached, and received.
    fn cost(price: Price, prompt: u64, cached: u64, completion: u64) -> u64 {
        price.cost_micros(TokenCount { prompt, cached, completion })
    }

    #[test]
    fn a_cost_is_tokens_times_price_rounded_up() {
        let price = Price { input_micros: 2_000_000, output_micros: 8_000_000, ..Price::default() };
        assert_eq!(cost(price, 1_000_000, 0, 0), 2_000_000, "two units for a million");
        assert_eq!(cost(price, 1000, 0, 500), 2000 + 4000);
        let cheap = Price { input_micros: 50_000, ..Price::default() };
        let costs = [1, 20, 21, 0].map(|tokens| cost(cheap, tokens, 0, 7));
        assert_eq!(costs, [1, 1, 2, 0]);
        let most = Price { input_micros: u64::MAX, output_micros: u64::MAX, ..Price::default() };
        assert_eq!(cost(most, u64::MAX, 0, u64::MAX), u64::MAX);
    }

    #[test]
    fn cached_tokens_have_a_price_of_their_own() {
        let price = Price { input_micros: 2_000_000, ..Price::default() };
        assert_eq!(cost(price, 1000, 600, 0), 2000, "the same, if there is none");
        let price = Price { cached_input_micros: Some(500_000), ..price };
        assert_eq!(cost(price, 1000, 600, 0), 400 * 2 + 300);
        let free = Price { cached_input_micros: Some(0), ..price };
        assert_eq!(cost(free, 1000, 1000, 0), 0);
    }
}
