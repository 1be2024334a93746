//! Reads a prompt by rules: the subject, the name and the wishes for a page.

mod words;

use super::colours::Colours;
use super::topics::{self, Topic};
use words::{CHANGES, CHINESE_FILLERS, CHINESE_KINDS, FILLERS, KINDS, WITH};

/// What a prompt asks for, as far as the rules find it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PageRequest {
    /// The prompt itself.
    pub(super) prompt: String,
    /// Whether the page is in Chinese; otherwise it is in English.
    pub(super) chinese: bool,
    /// What the page is about, in the prompt's own words: `vintage bicycle repair shop`. May be empty.
    pub(super) subject: String,
    /// The topic, if the subject is a common one.
    pub(super) topic: Option<&'static Topic>,
    /// The name of the page.
    pub(super) name: Option<String>,
    /// A text in quotation marks that is not the name.
    pub(super) quoted: Option<String>,
    /// What the page must have: `opening hours`.
    pub(super) wishes: Vec<String>,
    /// Colours.
    pub(super) colours: Colours,
    /// Whether the prompt asks for a change of the page, not for a new one.
    pub(super) is_change: bool,
}

/// The longest prompt, in characters; the rest is cut off.
const MAX_PROMPT_CHARS: usize = 4000;

const MAX_WISHES: usize = 6;

const MAX_WISH_CHARS: usize = 60;

/// The beginnings of what the runner appends to a prompt: the question to the router, and messages of other roles.
const ADDED: [&str; 2] = ["\n\n---\nThe roles are: ", "\n\n--- from the "];

/// What the runner writes before the prompt if it also tells of the conversation or of the files.
const BEFORE: (&str, &str) = ("# The ", "# The request\n");

/// The user's own words in a message that the runner has sent.
pub(super) fn users_words(message: &str) -> String {
    let told = message.starts_with(BEFORE.0).then(|| message.split_once(BEFORE.1)).flatten();
    let message = told.map_or(message, |(_, request)| request);
    let end = ADDED.iter().filter_map(|mark| message.find(mark)).min().unwrap_or(message.len());
    message[..end].trim().chars().take(MAX_PROMPT_CHARS).collect()
}

impl PageRequest {
    /// Reads a prompt.
    pub(super) fn of(prompt: &str) -> Self {
        let prompt = users_words(prompt);
        let lower = prompt.to_lowercase();
        let chinese = prompt.chars().any(is_han);
        let named = named(&prompt);
        Self {
            chinese,
            subject: if chinese { chinese_subject(&prompt) } else { subject(&lower) },
            topic: topics::of(&lower),
            quoted: quoted(&prompt).filter(|text| named.as_ref() != Some(text)),
            name: named,
            wishes: wishes(&prompt, &lower),
            colours: Colours::of(&lower),
            is_change: is_change(&lower),
            prompt,
        }
    }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{9fff}')
}

fn is_change(lower: &str) -> bool {
    let start = lower.trim_start_matches("please ").trim_start_matches("now ").trim_start_matches('请');
    CHANGES.iter().any(|word| start.starts_with(word))
}

/// `a landing page for a vintage bicycle repair shop with …` → `vintage bicycle repair shop`.
fn subject(lower: &str) -> String {
    let clause = first_clause(lower);
    let end = WITH.iter().filter_map(|word| clause.find(word)).min().unwrap_or(clause.len());
    let clause = clause[..end].split(" called ").next().unwrap_or_default();
    let clause = clause.split(" named ").next().unwrap_or_default();
    let after = ["for ", "about ", "of "].iter().find_map(|word| {
        let kind = KINDS.iter().find_map(|kind| clause.find(&format!("{kind} {word}")).map(|at| (at, kind)));
        kind.map(|(at, kind)| &clause[at + kind.len() + 1 + word.len()..])
    });
    let words = |text: &str| text.split_whitespace().map(clean).filter(|w| !w.is_empty()).collect::<Vec<_>>();
    let mut words = words(after.unwrap_or(clause));
    while words.first().is_some_and(|word| FILLERS.contains(&word.as_str())) {
        words.remove(0);
    }
    if after.is_none() {
        for kind in KINDS {
            let kind: Vec<_> = kind.split(' ').map(str::to_owned).collect();
            if words.len() > kind.len() && words.ends_with(&kind) {
                words.truncate(words.len() - kind.len());
                break;
            }
        }
    }
    words.truncate(6);
    words.join(" ")
}

/// `帮我做一个面包店的网站` → `面包店`.
fn chinese_subject(request: &str) -> String {
    let clause = first_clause(request);
    let end = WITH.iter().filter_map(|word| clause.find(word)).min().unwrap_or(clause.len());
    let mut rest = clause[..end].trim();
    while let Some(shorter) = CHINESE_FILLERS.iter().find_map(|word| rest.strip_prefix(word)) {
        rest = shorter.trim_start();
    }
    while let Some(shorter) = CHINESE_KINDS.iter().chain(&["的"]).find_map(|word| rest.strip_suffix(word)) {
        rest = shorter.trim_end();
    }
    rest.chars().take(16).collect()
}

fn first_clause(text: &str) -> &str {
    text.split(['.', ',', '!', '?', ';', ':', '\n', '。', '，', '！', '？', '；', '：', '(', '（'])
        .map(str::trim)
        .find(|clause| !clause.is_empty())
        .unwrap_or_default()
}

/// A word without punctuation.
fn clean(word: &str) -> String {
    word.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '\'' | '&' | '+' | '#')).collect()
}

/// The text in the first pair of quotation marks.
fn quoted(text: &str) -> Option<String> {
    [('"', '"'), ('“', '”'), ('「', '」'), ('《', '》')].into_iter().find_map(|(open, close)| {
        let (_, rest) = text.split_once(open)?;
        let (inside, _) = rest.split_once(close)?;
        let inside = inside.trim();
        (!inside.is_empty() && inside.chars().count() <= 80).then(|| inside.to_owned())
    })
}

/// The text after `called`, `named` or `叫`.
fn named(request: &str) -> Option<String> {
    let rest = [" called ", " named ", "名叫", "叫做", "名为"]
        .into_iter()
        .find_map(|word| request.split_once(word).map(|(_, rest)| rest.trim_start()))?;
    if rest.starts_with(['"', '“', '「', '《']) {
        return quoted(rest);
    }
    let end =
        WITH.iter().chain(&[" and ", "的"]).filter_map(|word| rest.find(word)).min().unwrap_or(rest.len());
    let words: Vec<&str> = first_clause(&rest[..end]).split_whitespace().take(5).collect();
    let name: String = words.join(" ").chars().take(40).collect();
    (!name.is_empty()).then_some(name)
}

/// The items that are listed after `with`.
fn wishes(request: &str, lower: &str) -> Vec<String> {
    // lower case may have another length in bytes (İ): then the list is taken from the lower-case text
    let text = if request.len() == lower.len() { request } else { lower };
    let Some((at, word)) = WITH.iter().filter_map(|word| Some((lower.find(word)?, word))).min() else {
        return Vec::new();
    };
    let list = text.get(at + word.len()..).unwrap_or_default();
    let list = list.split(['.', '!', '?', '\n', '。', '！', '？']).next().unwrap_or_default();
    list.replace(" and ", ",")
        .split([',', ';', '、', '，', '；', '和'])
        .map(|item| {
            let item = item.trim();
            let item =
                ["a ", "an ", "the ", "some "].iter().find_map(|a| item.strip_prefix(a)).unwrap_or(item);
            item.chars().take(MAX_WISH_CHARS).collect::<String>()
        })
        .filter(|item| !item.trim().is_empty())
        .take(MAX_WISHES)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_words_are_told_from_what_the_runner_adds() {
        let message = "# The files of the workspace\nREADME.md (5 bytes)\n# The request\nA page\n\n--- from the qa ---\nx";
        assert_eq!(users_words(message), "A page");
        assert_eq!(
            users_words("A page about # The request\nof others"),
            "A page about # The request\nof others"
        );
    }

    #[test]
    fn the_subject_is_what_the_prompt_is_about() {
        for (prompt, subject) in [
            ("Build a landing page for a bakery", "bakery"),
            (
                "Build a landing page for a vintage bicycle repair shop with opening hours",
                "vintage bicycle repair shop",
            ),
            ("Create a recipe sharing app", "recipe sharing"),
            ("please make me a simple snake game", "snake game"),
            ("A website about Roman history, in blue.", "roman history"),
            ("todo app", "todo"),
            ("", ""),
            ("帮我做一个面包店的网站", "面包店"),
            ("请为我创建一个咖啡馆落地页，包含菜单和地址", "咖啡馆"),
        ] {
            assert_eq!(PageRequest::of(prompt).subject, subject, "{prompt}");
        }
    }

    #[test]
    fn what_the_runner_appends_is_cut_off() {
        for added in
            ["", "\n\n--- from the architect ---\nUse red.", "\n\n---\nThe roles are: engineer. Answer"]
        {
            assert_eq!(users_words(&format!("a bakery\n\n--- in blue{added}")), "a bakery\n\n--- in blue");
        }
    }

    #[test]
    fn names_quotes_and_wishes_are_kept_in_the_prompts_own_words() {
        let request =
            PageRequest::of("A homepage for a gym called Iron Harbor with a timetable, prices and a Map");
        assert_eq!(request.name.as_deref(), Some("Iron Harbor"));
        assert_eq!(request.wishes, ["timetable", "prices", "Map"]);
        assert_eq!(request.subject, "gym");
        let change = PageRequest::of("Change the headline to \"Fresh at seven\"");
        assert!(change.is_change);
        assert_eq!(change.quoted.as_deref(), Some("Fresh at seven"));
        assert_eq!(PageRequest::of("做一个网站，包含菜单、地址和电话").wishes, ["菜单", "地址", "电话"]);
        assert_eq!(PageRequest::of("İİ page with x").wishes, ["x"]);
    }
}
