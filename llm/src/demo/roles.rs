//! The parts of the play, one script per role. `?` at a step means: if it has not been done yet, it comes next.

use serde_json::json;

use super::LABEL;
use super::content;
use super::conversation::{Call, Conversation};
use super::page::Page;
use super::prompt::Wish;
use super::site::Site;

const PRD: &str = "docs/prd.md";
const DESIGN: &str = "docs/design.md";
const REPORT: &str = "docs/test_report.md";

/// What the role says at last, or the tool call that it makes before.
pub(super) fn play(role: &str, talk: &Conversation) -> Result<String, Call> {
    let wish = Wish::of(&talk.prompt);
    let script = Script { talk, page: content::page(&wish), wish };
    match role {
        "router" => Ok(script.router()),
        "product_manager" => script.product_manager(),
        "architect" => script.architect(),
        "engineer" => script.engineer(),
        "qa" => script.qa(),
        // A role that the operator invented: it says what it is.
        _ => Ok(script.stranger()),
    }
}

struct Script<'a> {
    talk: &'a Conversation,
    wish: Wish,
    page: Page,
}

impl Script<'_> {
    /// Changes go to who makes them; anything new takes the whole team.
    fn router(&self) -> String {
        let roles: &[&str] = if self.wish.is_change {
            &["engineer", "qa"]
        } else {
            &["product_manager", "architect", "engineer", "qa"]
        };
        json!({"roles": roles, "reason": format!("{LABEL} by rule, from the wording of the prompt")})
            .to_string()
    }

    fn product_manager(&self) -> Result<String, Call> {
        let written = self.talk.tried(write(PRD, &self.prd()))?;
        Ok(match written.problem() {
            None => format!(
                "{LABEL} The requirements are in {PRD}: {} sections for “{}”, each with a test that anyone can make.",
                self.sections().len(),
                self.page.name
            ),
            Some(problem) => failed(&format!("write {PRD}"), problem),
        })
    }

    fn architect(&self) -> Result<String, Call> {
        let site = self.site()?;
        let written = self.talk.tried(write(DESIGN, &self.design(site)))?;
        Ok(match written.problem() {
            None => format!(
                "{LABEL} {}: the page goes to {}, its styles to {}, its title to {}. The design is in {DESIGN}.",
                site.framework, site.page, site.css, site.shell
            ),
            Some(problem) => failed(&format!("write {DESIGN}"), problem),
        })
    }

    fn engineer(&self) -> Result<String, Call> {
        let site = self.site()?;
        let before = self.talk.tried(read(site.page))?.text().and_then(Page::of_source);
        let (page, done) = match before.filter(|_| self.wish.is_change) {
            None => (self.page.clone(), None),
            Some(before) => match content::changed(&before, &self.wish) {
                Some((page, done)) => (page, Some(done)),
                None => {
                    return Ok(format!(
                        "{LABEL} I left the page as it is: I am a script, and of changes I only understand \
                         colours, dark or light, and new texts in quotation marks. A real model understands the \
                         rest."
                    ));
                }
            },
        };
        // Styles first: a page that imports a file that is not there yet shows an error to whoever watches.
        for (path, text) in [(site.css, page.css()), (site.page, page.tsx(site.is_next))] {
            if let Some(problem) = self.talk.tried(write(path, &text))?.problem() {
                return Ok(failed(&format!("write {path}"), problem));
            }
        }
        let titled = self.retitle(site, &page)?;
        let title = if titled { format!(", the title in {}", site.shell) } else { String::new() };
        Ok(match done {
            Some(done) => format!("{LABEL} Changed in {} and {}: {done}.", site.page, site.css),
            None => format!(
                "{LABEL} The page for “{}” is in {}, its styles are in {}{title}. It is made for \
                 phones, keyboards and screen readers, and loads nothing from elsewhere. I have not run it.",
                page.name, site.page, site.css,
            ),
        })
    }

    /// Whether the title is in the framework's own file now.
    fn retitle(&self, site: Site, page: &Page) -> Result<bool, Call> {
        let Some(shell) = self.talk.tried(read(site.shell))?.text() else { return Ok(false) };
        let Some((old, new)) = site.retitle(shell, page) else { return Ok(false) };
        let intent = format!("Now the title in {}.", site.shell);
        let edit = Call::new("edit_file", intent, &[("path", site.shell), ("old", &old), ("new", &new)]);
        Ok(self.talk.tried(edit)?.problem().is_none())
    }

    fn qa(&self) -> Result<String, Call> {
        let site = self.site()?;
        let source = self.talk.tried(read(site.page))?;
        let Some(source) = source.text() else {
            return Ok(failed(&format!("read {}", site.page), source.problem().unwrap_or_default()));
        };
        let page = Page::of_source(source);
        let subject = page.as_ref().map_or(self.page.name.as_str(), |page| page.name.as_str());
        // As it stands in the source: in a JSON string, without the quotes around it.
        let literal = serde_json::to_string(subject).expect("a string serialises");
        let pattern = &literal[1..literal.len() - 1];
        let search =
            Call::new("search_files", format!("Where is “{subject}” mentioned?"), &[("pattern", pattern)]);
        let found = self.talk.tried(search)?;
        let checks = [
            ("The page is there and has a component", source.contains("export default")),
            ("It has one main heading", source.matches("<h1").count() == 1),
            ("It has a main landmark, for screen readers", source.contains("<main")),
            ("It imports its styles", source.contains("./page.css")),
            ("The user's request stands on it", page.is_some_and(|page| page.request == self.wish.request)),
            ("Its subject is found by a search", found.text().is_some_and(|text| text.contains(site.page))),
        ];
        let passed = checks.iter().filter(|(_, passed)| *passed).count();
        let written = self.talk.tried(write(REPORT, &report(&checks, site)))?;
        let verdict = if passed == checks.len() { "PASS" } else { "FAIL" };
        let report = match written.problem() {
            None => format!("The report is in {REPORT}."),
            Some(problem) => failed(&format!("write {REPORT}"), problem),
        };
        Ok(format!(
            "{LABEL} Verdict: {verdict}. {passed} of {} checks passed, by reading the source; I have not run it. {report}",
            checks.len()
        ))
    }

    fn stranger(&self) -> String {
        format!(
            "{LABEL} I am a script that plays the router, product manager, architect, engineer and QA. Configure a \
             model provider for any other role. I was asked: {}",
            self.wish.request
        )
    }

    /// Looks around, and sees which framework it is.
    fn site(&self) -> Result<Site, Call> {
        let look = Call::new("list_files", "First I look at what is there.".to_owned(), &[("path", ".")]);
        Ok(Site::of(self.talk.tried(look)?.text().unwrap_or_default()))
    }

    fn sections(&self) -> Vec<&str> {
        let page = &self.page;
        [&page.features, &page.offers, &page.wishes]
            .into_iter()
            .filter(|section| !section.cards.is_empty())
            .map(|section| section.title.as_str())
            .chain([page.about.title.as_str()])
            .collect()
    }

    fn prd(&self) -> String {
        let page = &self.page;
        let list = |lines: Vec<String>| format!("- {}\n", lines.join("\n- "));
        let needs =
            self.sections().into_iter().map(|title| format!("**{title}**: found from the top of the page"));
        let wishes = page.wishes.cards.iter().map(|card| format!("**{}**: named in the request", card.title));
        format!(
            "# {name}: requirements\n\n> {request}\n\nWritten by the demo model, by rule.\n\n## Goal\n\n{tagline}\n\n\
             ## What it needs\n\n{needs}\n## Done when\n\n- a visitor knows within five seconds what this is: “{headline}”\n\
             - the main action, “{action}”, is reached with the keyboard alone\n\
             - nothing scrolls sideways at 320 px\n- text keeps a contrast of at least 4.5 to 1\n\n\
             ## Not now\n\n- accounts, payments, and content that changes by itself\n",
            name = page.name,
            request = self.wish.request.replace('\n', "\n> "),
            tagline = page.tagline,
            needs = list(needs.chain(wishes).collect()),
            headline = page.headline,
            action = page.action,
        )
    }

    fn design(&self, site: Site) -> String {
        format!(
            "# {name}: design\n\nWritten by the demo model, by rule. Framework: {framework}.\n\n## Files\n\n\
             | file | what it holds |\n|---|---|\n| `{page}` | the page: its content as one typed constant, its markup below |\n\
             | `{css}` | its styles: plain CSS, one hue ({hue}°), light and dark |\n| `{shell}` | the title |\n\n\
             ## Decisions\n\n- Content and markup are apart, so texts change without touching markup.\n\
             - No fonts, images or scripts from elsewhere: nothing to load, nothing to leak.\n\
             - Landmarks, one main heading, visible focus; motion only for who wants it.\n",
            name = self.page.name,
            framework = site.framework,
            page = site.page,
            css = site.css,
            shell = site.shell,
            hue = self.page.hue,
        )
    }
}

fn read(path: &str) -> Call {
    Call::new("read_file", format!("I read {path}."), &[("path", path)])
}

fn write(path: &str, text: &str) -> Call {
    Call::new("write_file", format!("I write {path}."), &[("path", path), ("content", text)])
}

fn report(checks: &[(&str, bool)], site: Site) -> String {
    let row = |(check, passed): &(&str, bool)| {
        format!("| {check} | {} |", if *passed { "pass" } else { "**fail**" })
    };
    let rows = checks.iter().map(row).collect::<Vec<_>>().join(
        "
",
    );
    format!(
        "# Test report\n\nWritten by the demo model after reading `{}`; nothing was run.\n\n| check | result |\n|---|---|\n{rows}\n",
        site.page
    )
}

/// The truth about a step that did not work.
fn failed(what: &str, problem: &str) -> String {
    let problem: String = problem.chars().take(300).collect();
    format!("{LABEL} I could not {what}: {problem}")
}
