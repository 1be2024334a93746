//! Common subjects of pages: their texts, and how the topic of a prompt is found.

mod businesses;
mod programs;
mod sites;

use super::colours::has_word;
use super::page::Kind;

/// A common subject, and texts for a page about it.
#[derive(Debug, PartialEq)]
pub(super) struct Topic {
    /// Words that point to it, in lower case.
    pub(super) words: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) emoji: &'static str,
    pub(super) hue: u16,
    pub(super) name: &'static str,
    pub(super) headline: &'static str,
    pub(super) tagline: &'static str,
    pub(super) action: &'static str,
    /// Title, and cards of title, text and note.
    pub(super) features: Cards,
    pub(super) offers: Cards,
    /// Title and text.
    pub(super) about: (&'static str, &'static str),
}

type Cards = (&'static str, &'static [(&'static str, &'static str, &'static str)]);

/// The topic of a prompt in lower case: the first of [`all`] that it names.
pub(super) fn of(lower: &str) -> Option<&'static Topic> {
    let says = |word: &&str| if word.is_ascii() { has_word(lower, word) } else { lower.contains(*word) };
    all().find(|topic| topic.words.iter().any(says))
}

/// Programs come first, then businesses, then kinds of site that may be about any subject: `a dashboard for my gym` is a dashboard, `a
/// blog of a hotel` is about a hotel.
fn all() -> impl Iterator<Item = &'static Topic> {
    [programs::TOPICS, businesses::TOPICS, sites::TOPICS].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_finds_its_topic_in_either_language() {
        for (prompt, name) in [
            ("build a landing page for a bakery", "Golden Crust Bakery"),
            ("a coffee shop", "Slow Morning Coffee"),
            ("a dashboard for my gym", "Overview"),
            ("帮我做一个咖啡馆的网站", "Slow Morning Coffee"),
            ("a blog about hotels", "Harbour House Hotel"),
        ] {
            assert_eq!(of(prompt).map(|topic| topic.name), Some(name), "{prompt}");
        }
        assert_eq!(of("a page about restoring clocks"), None);
    }

    #[test]
    fn every_topic_fills_a_page() {
        for topic in all() {
            assert!(topic.features.1.len() >= 2 && topic.offers.1.len() >= 3, "{}", topic.name);
            let mut titles: Vec<_> = topic.offers.1.iter().map(|card| card.0).collect();
            titles.sort_unstable();
            titles.dedup();
            assert_eq!(titles.len(), topic.offers.1.len(), "cards are told apart by title");
            if topic.kind == Kind::Dashboard {
                assert!(topic.offers.1.iter().all(|card| card.2.parse::<u32>().is_ok()));
            }
        }
    }
}
