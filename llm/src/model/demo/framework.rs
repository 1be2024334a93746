//! The files of a workspace that hold the page, by framework, and how the title is set.

use super::page::Page;

/// The files of a framework that a page touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameworkFiles {
    /// The framework's name, for people.
    pub(super) framework: &'static str,
    pub(super) is_next: bool,
    /// The starter page's component.
    pub(super) page: &'static str,
    /// The page's style sheet, beside it.
    pub(super) css: &'static str,
    /// The file that holds the title.
    pub(super) shell: &'static str,
}

const NEXT: FrameworkFiles = FrameworkFiles {
    framework: "Next.js",
    is_next: true,
    page: "app/page.tsx",
    css: "app/page.css",
    shell: "app/layout.tsx",
};

const NEXT_SRC: FrameworkFiles =
    FrameworkFiles { page: "src/app/page.tsx", css: "src/app/page.css", shell: "src/app/layout.tsx", ..NEXT };

const VITE: FrameworkFiles = FrameworkFiles {
    framework: "FastAPI and React (Vite)",
    is_next: false,
    page: "frontend/src/App.tsx",
    css: "frontend/src/page.css",
    shell: "frontend/index.html",
};

impl FrameworkFiles {
    /// The files of a workspace, by the list of its files; those of Next.js if the framework is not recognised.
    pub(super) fn of(listing: &str) -> Self {
        if listing.contains("src/app/") {
            NEXT_SRC
        } else if listing.contains("frontend") {
            VITE
        } else {
            NEXT
        }
    }

    /// The text to replace in the shell, and the new text, which sets the title; `None` if there is nothing to replace.
    pub(super) fn retitle(self, shell: &str, page: &Page) -> Option<(String, String)> {
        let title = page.title();
        let (old, new) = if self.is_next {
            let at = shell.find("title:")?;
            let value = shell[at + 6..].trim_start();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
            let inside = value[1..].split_once(quote)?.0;
            // an escaped quote would end the text too early, so such a title is not replaced
            if inside.contains(['\\', '$', '\n']) {
                return None;
            }
            let start = shell.len() - value.len();
            let literal = serde_json::to_string(&title).expect("a string serialises");
            (shell[at..start + inside.len() + 2].to_owned(), format!("title: {literal}"))
        } else {
            let start = shell.find("<title>")?;
            let end = start + shell[start..].find("</title>")? + "</title>".len();
            (shell[start..end].to_owned(), format!("<title>{}</title>", escape_html(&title)))
        };
        let is_once = shell.matches(&old).count() == 1;
        (is_once && old != new).then_some((old, new))
    }
}

/// Text escaped for HTML.
fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::content;
    use super::super::prompt::PageRequest;
    use super::*;

    #[test]
    fn the_framework_is_recognised_by_its_files() {
        assert_eq!(FrameworkFiles::of("app/page.tsx (1 bytes)\npackage.json (2 bytes)"), NEXT);
        assert_eq!(FrameworkFiles::of("backend/main.py (1 bytes)\nfrontend/src/App.tsx (1 bytes)"), VITE);
        assert_eq!(FrameworkFiles::of("src/app/page.tsx (1 bytes)"), NEXT_SRC);
        assert_eq!(FrameworkFiles::of("there are no files"), NEXT);
    }

    #[test]
    fn a_title_is_replaced_in_place_and_cannot_break_out() {
        let mut page = content::page(&PageRequest::of("a bakery"));
        page.name = "Tom & \"Jerry\" </title>".to_owned();
        page.headline.clone_from(&page.name);
        let layout = "export const metadata = {\n  title: 'Starter',\n  description: \"x\",\n};";
        let (old, new) = NEXT.retitle(layout, &page).unwrap();
        assert_eq!(
            (old.as_str(), new.as_str()),
            ("title: 'Starter'", r#"title: "Tom & \"Jerry\" </title>""#)
        );
        let (old, new) = VITE.retitle("<head><title>Starter</title></head>", &page).unwrap();
        assert_eq!(old, "<title>Starter</title>");
        assert_eq!(new, "<title>Tom &amp; \"Jerry\" &lt;/title&gt;</title>");
        for odd in ["", "title: getTitle()", "title: `a ${b}`", "title: \"a\" title: \"a\"", "title: 'x"] {
            assert_eq!(NEXT.retitle(odd, &page), None, "{odd}");
        }
    }
}
