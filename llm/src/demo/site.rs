//! Where a page goes in a workspace, and how its title gets into the framework's own file.

use super::page::Page;

/// The files of a framework that a page touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Site {
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

const NEXT: Site = Site {
    framework: "Next.js",
    is_next: true,
    page: "app/page.tsx",
    css: "app/page.css",
    shell: "app/layout.tsx",
};

const NEXT_SRC: Site =
    Site { page: "src/app/page.tsx", css: "src/app/page.css", shell: "src/app/layout.tsx", ..NEXT };

const VITE: Site = Site {
    framework: "FastAPI and React (Vite)",
    is_next: false,
    page: "frontend/src/App.tsx",
    css: "frontend/src/page.css",
    shell: "frontend/index.html",
};

impl Site {
    /// The framework of a workspace, by the list of its files; Next.js if it cannot be told.
    pub(super) fn of(listing: &str) -> Self {
        if listing.contains("src/app/") {
            NEXT_SRC
        } else if listing.contains("frontend") {
            VITE
        } else {
            NEXT
        }
    }

    /// What to replace in the shell, and with what, so that the page's title is there.
    pub(super) fn retitle(self, shell: &str, page: &Page) -> Option<(String, String)> {
        let title = page.title();
        let (old, new) = if self.is_next {
            let at = shell.find("title:")?;
            let value = shell[at + 6..].trim_start();
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'))?;
            let inside = value[1..].split_once(quote)?.0;
            // An escaped quote would end the text too early: such a title is left alone.
            if inside.contains(['\\', '$', '\n']) {
                return None;
            }
            let start = shell.len() - value.len();
            let literal = serde_json::to_string(&title).expect("a string serialises");
            (shell[at..start + inside.len() + 2].to_owned(), format!("title: {literal}"))
        } else {
            let start = shell.find("<title>")?;
            let end = start + shell[start..].find("</title>")? + "</title>".len();
            (shell[start..end].to_owned(), format!("<title>{}</title>", html(&title)))
        };
        let is_once = shell.matches(&old).count() == 1;
        (is_once && old != new).then_some((old, new))
    }
}

/// Text as it stands in HTML.
fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::content;
    use super::super::prompt::Wish;
    use super::*;

    #[test]
    fn the_framework_shows_in_the_files() {
        assert_eq!(Site::of("app/page.tsx (1 bytes)\npackage.json (2 bytes)"), NEXT);
        assert_eq!(Site::of("backend/main.py (1 bytes)\nfrontend/src/App.tsx (1 bytes)"), VITE);
        assert_eq!(Site::of("src/app/page.tsx (1 bytes)"), NEXT_SRC);
        assert_eq!(Site::of("there are no files"), NEXT);
    }

    #[test]
    fn a_title_is_replaced_where_it_stands_and_cannot_break_out() {
        let mut page = content::page(&Wish::of("a bakery"));
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
