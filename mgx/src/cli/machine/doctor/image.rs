//! The image of the jobs' containers: whether the engine has it, and whether jobs can start from it.

use mgx_runtimes::image::FoundImage;

use super::Finding;
use crate::config::Config;
use crate::engine::images;
use crate::image::{AgentImage, Presence, remedy_of_missing};

/// Looks for the image in the engine that the configuration names, which has answered before.
pub(super) async fn look(config: &Config) -> Finding {
    let image = AgentImage::of(config);
    match image.presence(&*images(config)).await {
        Ok(presence) => of(&image.name, presence),
        Err(error) => Finding::warn("image", format!("{}: {error}", image.name), "try again"),
    }
}

fn of(name: &str, presence: Presence) -> Finding {
    match presence {
        Presence::Own => Finding::ok("image", format!("{name} is present")),
        Presence::ToBeMade => Finding::ok("image", format!("{name} will be built at the first start")),
        Presence::CannotBeMade(why) => match why.split_once(": ") {
            Some((what, remedy)) => Finding::fail("image", what, remedy),
            None => Finding::fail("image", why, "docs/images.md"),
        },
        Presence::Missing => Finding::fail(
            "image",
            format!("{name} (agent.image) is not in the engine: every job fails with image_missing"),
            remedy_of_missing(name),
        ),
        Presence::Configured(found) => configured(name, &found),
    }
}

/// An image of the operator's: the platform uses it as it is.
fn configured(name: &str, found: &FoundImage) -> Finding {
    let program = found.entry_point.first().map(String::as_str).unwrap_or_default();
    if !program.ends_with("agent-runner") {
        let starts =
            if program.is_empty() { "has no entry point".to_owned() } else { format!("starts {program}") };
        return Finding::warn(
            "image",
            format!(
                "{name} (agent.image, yours) is present; it {starts}, so that jobs do not start unless that is an agent-runner"
            ),
            "build it FROM the platform's image, or copy the agent-runner into it as its ENTRYPOINT: docs/images.md",
        );
    }
    let base = match &found.content {
        Some(content) => {
            format!("built from the platform's image of content {}", content.get(..12).unwrap_or(content))
        }
        None => "not built from an image of the platform's".to_owned(),
    };
    Finding::ok("image", format!("{name} (agent.image, yours) is present, and used as it is; {base}"))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn what_is_true_of_an_image_is_said_with_its_remedy() {
        let found = |content: Option<&str>, program: &[&str]| {
            Presence::Configured(FoundImage {
                content: content.map(str::to_owned),
                entry_point: program.iter().map(|&word| word.to_owned()).collect(),
            })
        };
        let mut text = String::new();
        for (name, presence) in [
            ("mgx-agent:0123456789ab", Presence::Own),
            ("mgx-agent:0123456789ab", Presence::ToBeMade),
            ("mgx-base:none", Presence::CannotBeMade("there is no busybox: install one".to_owned())),
            ("team/agent:1", Presence::Missing),
            ("team/agent:1", found(Some("0123456789abcdef"), &["/agent-runner"])),
            ("team/agent:1", found(None, &["/opt/mgx/agent-runner"])),
            ("team/agent:1", found(None, &["/bin/sh", "-c"])),
            ("team/agent:1", found(None, &[])),
        ] {
            let Finding { verdict, check, what, remedy } = of(name, presence);
            writeln!(text, "{verdict:?} {check}: {what}").unwrap();
            if let Some(remedy) = remedy {
                writeln!(text, "  remedy: {remedy}").unwrap();
            }
        }
        insta::assert_snapshot!(text);
    }
}
