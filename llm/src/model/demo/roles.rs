//! The roles of the team, one script each. `?` after a step means: if it has not been done yet, it is the next call.

use serde_json::json;

use super::content;
use super::conversation::{Call, Conversation};
use super::framework::FrameworkFiles;
use super::page::Page;
use super::prompt::PageRequest;

/// The beginning of every text of the demo model.
const LABEL: &str = "[demo model]";

const PRD: &str = "docs/prd.md";
const DESIGN: &str = "docs/design.md";
const REPORT: &str = "docs/test_report.md";

/// The final message of the role, or the next tool call (as the error).
pub(super) fn next_step(role: &str, conversation: &Conversation) -> Result<String, Call> {
    let request = PageRequest::of(&conversation.prompt);
    let script = Script { conversation, page: content::page(&request), request };
    match role {
        "router" => Ok(script.router()),
        "product_manager" => script.product_manager(),
        "architect" => script.architect(),
        "engineer" => script.engineer(),
        "qa" => script.qa(),
        // a role that the operator has defined
        _ => Ok(script.other_role()),
    }
}

struct Script<'a> {
    conversation: &'a Conversation,
    request: PageRequest,
    page: Page,
}

impl Script<'_> {
    /// A change needs the engineer and QA; a new page the whole team.
    fn router(&self) -> String {
        let roles: &[&str] = if self.request.is_change {
            &["engineer", "qa"]
        } else {
            &["product_manager", "architect", "engineer", "qa"]
        };
        json!({"roles": roles, "reason": format!("{LABEL} by rule, from the wording of the prompt")})
            .to_string()
    }

    fn product_manager(&self) -> Result<String, Call> {
        let written = self.conversation.outcome_of(write(PRD, &self.prd()))?;
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
        let files = self.framework_files()?;
        let written = self.conversation.outcome_of(write(DESIGN, &self.design(files)))?;
        Ok(match written.problem() {
            None => format!(
                "{LABEL} {}: the page goes to {}, its styles to {}, its title to {}. The design is in {DESIGN}.",
                files.framework, files.page, files.css, files.shell
            ),
            Some(problem) => failed(&format!("write {DESIGN}"), problem),
        })
    }

    fn engineer(&self) -> Result<String, Call> {
        let files = self.framework_files()?;
        let before = self.conversation.outcome_of(read(files.page))?.text().and_then(Page::of_source);
        let (page, done) = match before.filter(|_| self.request.is_change) {
            None => (self.page.clone(), None),
            Some(before) => match content::changed(&before, &self.request) {
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
        // styles first: a page that imports a missing file shows an error in the preview
        for (path, text) in [(files.css, page.css()), (files.page, page.tsx(files.is_next))] {
            if let Some(problem) = self.conversation.outcome_of(write(path, &text))?.problem() {
                return Ok(failed(&format!("write {path}"), problem));
            }
        }
        let titled = self.retitle(files, &page)?;
        let title = if titled { format!(", the title in {}", files.shell) } else { String::new() };
        Ok(match done {
            Some(done) => format!("{LABEL} Changed in {} and {}: {done}.", files.page, files.css),
            None => format!(
                "{LABEL} The page for “{}” is in {}, its styles are in {}{title}. It is made for \
                 phones, keyboards and screen readers, and loads nothing from elsewhere. I have not run it.",
                page.name, files.page, files.css,
            ),
        })
    }

    /// Sets the title in the framework's own file; whether it could be set.
    fn retitle(&self, files: FrameworkFiles, page: &Page) -> Result<bool, Call> {
        let Some(shell) = self.conversation.outcome_of(read(files.shell))?.text() else { return Ok(false) };
        let Some((old, new)) = files.retitle(shell, page) else { return Ok(false) };
        let intent = format!("Now the title in {}.", files.shell);
        let edit = Call::new("edit_file", intent, &[("path", files.shell), ("old", &old), ("new", &new)]);
        Ok(self.conversation.outcome_of(edit)?.problem().is_none())
    }

    fn qa(&self) -> Result<String, Call> {
        let files = self.framework_files()?;
        let source = self.conversation.outcome_of(read(files.page))?;
        let Some(source) = source.text() else {
            return Ok(failed(&format!("read {}", files.page), source.problem().unwrap_or_default()));
        };
        let page = Page::of_source(source);
        let subject = page.as_ref().map_or(self.page.name.as_str(), |page| page.name.as_str());
        // as in the source: a JSON string without its quotes
        let literal = serde_json::to_string(subject).expect("a string serialises");
        let pattern = &literal[1..literal.len() - 1];
        let search =
            Call::new("search_files", format!("Where is “{subject}” mentioned?"), &[("pattern", pattern)]);
        let found = self.conversation.outcome_of(search)?;
        let checks = [
            ("The page is there and has a component", source.contains("export default")),
            ("It has one main heading", source.matches("<h1").count() == 1),
            ("It has a main landmark, for screen readers", source.contains("<main")),
            ("It imports its styles", source.contains("./page.css")),
            ("The user's request stands on it", page.is_some_and(|page| page.request == self.request.prompt)),
            ("Its subject is found by a search", found.text().is_some_and(|text| text.contains(files.page))),
        ];
        let passed = checks.iter().filter(|(_, passed)| *passed).count();
        let written = self.conversation.outcome_of(write(REPORT, &report(&checks, files)))?;
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

    fn other_role(&self) -> String {
        format!(
            "{LABEL} I am a script that plays the router, product manager, architect, engineer and QA. Configure a \
             model provider for any other role. I was asked: {}",
            self.request.prompt
        )
    }

    /// Lists the files, by which the framework is recognised.
    fn framework_files(&self) -> Result<FrameworkFiles, Call> {
        let look = Call::new("list_files", "First I look at what is there.".to_owned(), &[("path", ".")]);
        Ok(FrameworkFiles::of(self.conversation.outcome_of(look)?.text().unwrap_or_default()))
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
            request = self.request.prompt.replace('\n', "\n> "),
            tagline = page.tagline,
            needs = list(needs.chain(wishes).collect()),
            headline = page.headline,
            action = page.action,
        )
    }

    fn design(&self, files: FrameworkFiles) -> String {
        format!(
            "# {name}: design\n\nWritten by the demo model, by rule. Framework: {framework}.\n\n## Files\n\n\
             | file | what it holds |\n|---|---|\n| `{page}` | the page: its content as one typed constant, its markup below |\n\
             | `{css}` | its styles: plain CSS, one hue ({hue}°), light and dark |\n| `{shell}` | the title |\n\n\
             ## Decisions\n\n- Content and markup are apart, so texts change without touching markup.\n\
             - No fonts, images or scripts from elsewhere: nothing to load, nothing to leak.\n\
             - Landmarks, one main heading, visible focus; motion only for who wants it.\n",
            name = self.page.name,
            framework = files.framework,
            page = files.page,
            css = files.css,
            shell = files.shell,
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

fn report(checks: &[(&str, bool)], files: FrameworkFiles) -> String {
    let row = |(check, passed): &(&str, bool)| {
        format!("| {check} | {} |", if *passed { "pass" } else { "**fail**" })
    };
    let rows = checks.iter().map(row).collect::<Vec<_>>().join("\n");
    format!(
        "# Test report\n\nWritten by the demo model after reading `{}`; nothing was run.\n\n| check | result |\n|---|---|\n{rows}\n",
        files.page
    )
}

/// The message about a step that failed.
fn failed(what: &str, problem: &str) -> String {
    let problem: String = problem.chars().take(300).collect();
    format!("{LABEL} I could not {what}: {problem}")
}
