//! The colours that a prompt asks for.

/// The hue of a page, and whether it is dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Colours {
    /// Degrees in OKLCH, if the prompt names a colour.
    pub(super) hue: Option<u16>,
    /// Whether the page is dark or light, if the prompt says so.
    pub(super) dark: Option<bool>,
}

const HUES: [(&str, u16); 24] = [
    ("red", 25),
    ("orange", 55),
    ("brown", 60),
    ("yellow", 95),
    ("gold", 85),
    ("green", 150),
    ("teal", 190),
    ("turquoise", 195),
    ("blue", 255),
    ("indigo", 275),
    ("violet", 295),
    ("purple", 305),
    ("pink", 350),
    ("红", 25),
    ("橙", 55),
    ("棕", 60),
    ("黄", 95),
    ("金色", 85),
    ("绿", 150),
    ("青", 190),
    ("蓝", 255),
    ("靛", 275),
    ("紫", 305),
    ("粉", 350),
];

impl Colours {
    /// The colours in a prompt, which is in lower case.
    pub(super) fn of(lower: &str) -> Self {
        let mentions =
            |word: &str| if word.is_ascii() { has_word(lower, word) } else { lower.contains(word) };
        Self {
            hue: HUES.iter().find(|(word, _)| mentions(word)).map(|(_, hue)| *hue),
            dark: if ["dark", "night", "深色", "暗"].into_iter().any(mentions) {
                Some(true)
            } else if ["light", "bright", "浅色", "明亮"].into_iter().any(mentions) {
                Some(false)
            } else {
                None
            },
        }
    }
}

/// Whether `text` contains `word` as a whole word, or its plural.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let mut after = text[at + word.len()..].chars();
        let mut next = after.next();
        if next == Some('s') {
            next = after.next();
        }
        let apart = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
        apart(before) && apart(next)
    })
}

/// A hash of the text (FNV-1a, 32 bits), by which the same prompt always gets the same colour.
pub(super) fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_whole_words() {
        assert_eq!(Colours::of("a dark blue page"), Colours { hue: Some(255), dark: Some(true) });
        assert_eq!(Colours::of("shared bakery, lightning fast"), Colours::default());
        assert_eq!(Colours::of("做一个绿色的网站").hue, Some(150));
        assert!(has_word("two bakeries and gyms.", "gym") && !has_word("gymnast", "gym"));
    }
}
