//! A line of a live view: wrapped between words at the width of the terminal, with its indent kept, and in colours that mean
//! something.

use std::fmt;

use console::{Style, measure_text_width};

/// What a line tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// Something succeeded.
    Good,
    /// Something failed.
    Bad,
    /// Something waits, or was stopped.
    Waiting,
}

/// A line: what stands before the text (a time, or as many spaces), who acts or speaks, and the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Line {
    lead: String,
    who: Option<String>,
    is_said: bool,
    text: String,
    tone: Tone,
}

/// The narrowest column that text is wrapped in.
const NARROWEST: usize = 16;

/// The styles of other names than those of the built-in roles. Red and green tell how something went.
const NAMES: [fn() -> Style; 4] =
    [|| Style::new().cyan(), || Style::new().magenta(), || Style::new().blue(), || Style::new().yellow()];

impl Line {
    /// A line that is about no role.
    pub(crate) fn new(lead: impl Into<String>, text: impl Into<String>) -> Self {
        Self { lead: lead.into(), text: text.into(), ..Self::default() }
    }

    /// A line about what the role `who` does.
    pub(crate) fn of(lead: impl Into<String>, who: &str, text: impl Into<String>) -> Self {
        Self { who: Some(who.to_owned()), ..Self::new(lead, text) }
    }

    /// A line that the role `who` says.
    pub(crate) fn said(lead: impl Into<String>, who: &str, text: impl Into<String>) -> Self {
        Self { is_said: true, ..Self::of(lead, who, text) }
    }

    /// The same line with this tone.
    pub(crate) fn with(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// The line as the rows of a terminal that is `width` columns wide.
    pub(crate) fn rows(&self, width: usize, in_colour: bool) -> String {
        let before = self.before();
        let begins = measure_text_width(&before);
        let inner = self.text.chars().take_while(|c| *c == ' ').count();
        let most = (width / 3).min(width.saturating_sub(NARROWEST));
        let indent = (measure_text_width(&self.lead) + 3 + inner).min(most);
        let first = width.saturating_sub(begins);
        let rest = width.saturating_sub(indent).max(NARROWEST);
        let rows = wrap(&self.text, first, rest);
        let mut shown = String::new();
        for (number, row) in rows.iter().enumerate() {
            if number == 0 {
                shown.push_str(&self.styled_before(in_colour));
            } else {
                shown.push('\n');
                shown.push_str(&" ".repeat(indent));
            }
            shown.push_str(&self.styled(row, number == 0, in_colour));
        }
        shown
    }

    /// What stands before the text.
    fn before(&self) -> String {
        let space = if self.lead.is_empty() { "" } else { " " };
        let end = if self.is_said { ": " } else { " " };
        let who = self.who.as_ref().map(|who| format!("{who}{end}")).unwrap_or_default();
        format!("{}{space}{who}", self.lead)
    }

    fn styled_before(&self, in_colour: bool) -> String {
        let before = self.before();
        let Some(who) = self.who.as_ref().filter(|_| in_colour) else {
            return if in_colour { forced(Style::new().dim()).apply_to(before).to_string() } else { before };
        };
        let at = before.len() - who.len() - if self.is_said { 2 } else { 1 };
        let (lead, rest) = before.split_at(at);
        let end = &rest[who.len()..];
        let name = forced(style_of(who));
        format!("{}{}{end}", forced(Style::new().dim()).apply_to(lead), name.apply_to(who))
    }

    fn styled(&self, row: &str, is_first: bool, in_colour: bool) -> String {
        let style = match self.tone {
            _ if !in_colour => return row.to_owned(),
            Tone::Plain => return row.to_owned(),
            Tone::Good => forced(Style::new().green()),
            Tone::Bad => forced(Style::new().red()),
            Tone::Waiting => forced(Style::new().yellow()),
        };
        // a mark says it by itself
        match row.strip_prefix('✓').filter(|_| is_first) {
            Some(rest) => format!("{}{rest}", style.apply_to('✓')),
            None if self.tone == Tone::Good && self.text.starts_with('✓') => row.to_owned(),
            None => style.apply_to(row).to_string(),
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.before(), self.text)
    }
}

/// The style of the name of a role.
fn style_of(who: &str) -> Style {
    match who {
        "router" => Style::new().bold(),
        "product_manager" => Style::new().cyan(),
        "architect" => Style::new().magenta(),
        "project_manager" => Style::new().cyan().bright(),
        "engineer" => Style::new().yellow(),
        "qa" => Style::new().blue().bright(),
        other => NAMES[other.bytes().map(usize::from).sum::<usize>() % NAMES.len()](),
    }
}

/// The caller has decided whether there are colours.
fn forced(style: Style) -> Style {
    style.force_styling(true)
}

/// Breaks `text` between words into rows: the first of `first` columns, the others of `rest`. A word that is longer than a
/// row is broken inside.
fn wrap(text: &str, first: usize, rest: usize) -> Vec<String> {
    let mut rows = vec![String::new()];
    let (mut used, mut room) = (0, first);
    for word in words(text) {
        let spaces = word.len() - word.trim_start_matches(' ').len();
        let width = measure_text_width(word);
        let is_begun = used > 0 || (rows.len() == 1 && first < rest);
        // a word that has to be broken begins where it stands, if there is some room
        let goes_on_below = width - spaces <= rest || used + NARROWEST / 2 > room;
        if used + width > room && is_begun && goes_on_below {
            rows.push(String::new());
            (used, room) = (0, rest);
        }
        let word = if used == 0 && rows.len() > 1 { word.trim_start_matches(' ') } else { word };
        for letter in word.chars() {
            let width = measure_text_width(letter.encode_utf8(&mut [0; 4]));
            if used + width > room && (used > 0 || (rows.len() == 1 && room < rest)) {
                rows.push(String::new());
                (used, room) = (0, rest);
            }
            if let Some(row) = rows.last_mut() {
                row.push(letter);
            }
            used += width;
        }
    }
    rows.iter().map(|row| row.trim_end().to_owned()).collect()
}

/// The pieces of a text that stay together, each with the spaces before it: words, and each wide character of a script that
/// has no spaces.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut begin, mut is_in_word) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        let is_wide = measure_text_width(letter.encode_utf8(&mut [0; 4])) > 1;
        if is_in_word && (letter == ' ' || is_wide) {
            words.push(&text[begin..at]);
            (begin, is_in_word) = (at, false);
        }
        if is_wide {
            let end = at + letter.len_utf8();
            words.push(&text[begin..end]);
            begin = end;
        } else if letter != ' ' {
            is_in_word = true;
        }
    }
    if begin < text.len() {
        words.push(&text[begin..]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str =
        "I will write a landing page with opening hours, a menu, and a map of the way to the shop.";

    #[test]
    fn rows_end_between_words_and_keep_the_indent() {
        let said = Line::said("    12.5s", "product_manager", SAID);
        insta::assert_snapshot!(said.rows(80, false), @r"
            12.5s product_manager: I will write a landing page with opening hours, a
                    menu, and a map of the way to the shop.
        ");
        insta::assert_snapshot!(said.rows(40, false), @r"
            12.5s product_manager: I will write
                    a landing page with opening
                    hours, a menu, and a map of
                    the way to the shop.
        ");
        assert_eq!(said.rows(120, false), said.to_string());
        let list = Line::said("", "qa", "  - the first of several points that are made here");
        insta::assert_snapshot!(list.rows(30, false), @r"
        qa:   - the first of several
             points that are made here
        ");
    }

    #[test]
    fn every_row_fits_whatever_the_width_and_the_script() {
        let path = "app/".repeat(40);
        for text in [SAID, &path, "首页包含营业时间、菜单以及到店路线的地图，请确认是否正确。", "", "  "]
        {
            let line = Line::of("     0.5s", "engineer", text);
            for width in 17..130 {
                let rows = line.rows(width, false);
                let widest = rows.lines().map(measure_text_width).max().unwrap_or(0);
                assert!(widest <= width.max(9 + 10), "{width}: {rows}");
                let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
                assert_eq!(letters(&rows), letters(&line.to_string()), "nothing is lost");
            }
        }
    }

    #[test]
    fn colours_tell_how_it_went_and_who_it_was() {
        let failed = Line::of("     0.5s", "qa", "✗ read_file x failed").with(Tone::Bad).rows(80, true);
        assert!(failed.contains("\u{1b}[31m✗ read_file x failed\u{1b}[0m"), "{failed:?}");
        let done = Line::of("     0.5s", "qa", "✓ read_file x").with(Tone::Good).rows(80, true);
        assert!(done.contains("\u{1b}[32m✓\u{1b}[0m read_file x"), "{done:?}");
        assert!(!Line::of("", "qa", "x").with(Tone::Bad).rows(80, false).contains('\u{1b}'));
    }
}
