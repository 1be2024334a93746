//! A page: its content as data, and the source files that are made of it.
//!
//! The content is in the source in one place, as one JSON literal, which is a TypeScript expression too: so no prompt can
//! break out of it, and a later job reads the page back from its source.

use serde::{Deserialize, Serialize};

/// The content of a page, and its layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    /// Its language (BCP 47): `en` or `zh`.
    pub(super) lang: String,
    /// Its layout.
    pub(super) kind: Kind,
    /// Its name.
    pub(super) name: String,
    /// A picture that needs no file.
    pub(super) emoji: String,
    pub(super) headline: String,
    pub(super) tagline: String,
    /// The text of the main button.
    pub(super) action: String,
    pub(super) features: Section,
    /// The menu, the goods, the works, or the rows of the table.
    pub(super) offers: Section,
    /// What the prompt asks for by name; may be empty.
    pub(super) wishes: Section,
    pub(super) about: Card,
    pub(super) labels: Labels,
    /// The prompt, word by word.
    pub(super) request: String,
    /// Degrees in OKLCH.
    pub(super) hue: u16,
    /// The CSS `color-scheme`: `light dark` (as the visitor prefers), `light` or `dark`.
    pub(super) scheme: String,
}

/// The layout of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Sections to read, top to bottom.
    Site,
    /// A list of tasks that can be edited.
    Todo,
    /// Figures, a chart and a table.
    Dashboard,
}

/// A titled row of cards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) cards: Vec<Card>,
}

/// A card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Card {
    pub(super) title: String,
    pub(super) text: String,
    /// A price, a date, a figure; may be empty.
    pub(super) note: String,
}

/// The labels of controls and landmarks, in the language of the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Labels {
    pub(super) skip: String,
    pub(super) nav: String,
    pub(super) more: String,
    pub(super) contact: String,
    pub(super) request: String,
    pub(super) add: String,
    pub(super) task: String,
    pub(super) remove: String,
    pub(super) left: String,
    pub(super) all: String,
    pub(super) open: String,
    pub(super) done: String,
    pub(super) sample: String,
}

const BEFORE: &str = "const page: Content = ";
const AFTER: &str = ";\n// end of the content";

const PAGE: &str = "export default function Page()";
const APP: &str = "export function App()";

const TYPES: &str = include_str!("page/content.ts.txt");
const SITE: &str = include_str!("page/site.tsx.txt");
const TODO: &str = include_str!("page/todo.tsx.txt");
const DASHBOARD: &str = include_str!("page/dashboard.tsx.txt");
const CSS: &str = include_str!("page/page.css.txt");

impl Page {
    /// The page's component; imports its style sheet as `./page.css`.
    pub(super) fn tsx(&self, is_next: bool) -> String {
        let body = match self.kind {
            Kind::Site => SITE,
            Kind::Todo => TODO,
            Kind::Dashboard => DASHBOARD,
        };
        // only a component that runs in the browser may hold state; Next.js requires this directive
        let client = if is_next && self.kind == Kind::Todo { "\"use client\";\n\n" } else { "" };
        let hooks = if self.kind == Kind::Todo { "import { useState } from \"react\";\n" } else { "" };
        let json = serde_json::to_string_pretty(self).expect("strings and numbers serialise");
        let text = format!("{client}{hooks}import \"./page.css\";\n\n{TYPES}\n{BEFORE}{json}{AFTER}\n\n");
        // Next.js wants the default export; the Vite starter imports it by name.
        if is_next { text + body } else { text + &body.replace(PAGE, APP) + "\nexport default App;\n" }
    }

    /// The page's style sheet.
    pub(super) fn css(&self) -> String {
        CSS.replace("__HUE__", &self.hue.to_string()).replace("__SCHEME__", &self.scheme)
    }

    /// The page that a source file was made of; `None` if the demo model has not made it.
    pub(super) fn of_source(tsx: &str) -> Option<Self> {
        let (_, rest) = tsx.split_once(BEFORE)?;
        let (json, _) = rest.split_once(AFTER)?;
        serde_json::from_str(json).ok()
    }

    /// The title of the document.
    pub(super) fn title(&self) -> String {
        if self.name == self.headline {
            self.name.clone()
        } else {
            format!("{} – {}", self.name, self.headline)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::content;
    use super::super::prompt::PageRequest;
    use super::*;

    fn check(prompt: &str, is_next: bool) {
        let page = content::page(&PageRequest::of(prompt));
        let source = page.tsx(is_next);
        // All that the prompt decides is one JSON value in one place, and it is the page again.
        let (head, rest) = source.split_once(BEFORE).unwrap();
        let (json, tail) = rest.split_once(AFTER).unwrap();
        assert_eq!(serde_json::from_str::<Page>(json).unwrap(), page);
        let other = Page { kind: page.kind, ..content::page(&PageRequest::of("a bakery")) }.tsx(is_next);
        assert!(other.starts_with(head) && other.ends_with(tail), "markup does not depend on the prompt");
        // And no text in it can end a string: JSON has neither raw quotes nor raw newlines inside of one.
        assert!(page.request.is_empty() || json.contains(&serde_json::to_string(&page.request).unwrap()));
        assert_eq!(Page::of_source(&source), Some(page));
    }

    #[test]
    fn no_prompt_breaks_out_of_the_page() {
        for prompt in [
            "",
            "</script><script>alert(1)</script> called </title>",
            "a page called \"; process.exit(1); //",
            "{${`}} \\ \" ' < > & \n // end of the content\nconst page: Content = {};",
            ";\n// end of the content",
            "a todo app with */ and \u{2028}",
            "帮我做一个“面包店”的网站，包含{菜单}和\\",
        ] {
            check(prompt, true);
            check(prompt, false);
        }
    }

    proptest! {
        #[test]
        fn nor_does_any_other(prompt: String, next: bool) {
            check(&prompt, next);
        }

        #[test]
        fn nor_one_made_of_dangerous_words(
            words in proptest::collection::vec(
                "[\"'`{}<>&$\\\\\n;]|called|with|todo|dashboard|blue|bakery|面包|包含|İ| |,|const page: Content = ", 0..30),
        ) {
            check(&words.concat(), true);
        }
    }
}
