//! `mgx images`: make the platform's own image for jobs, unless the engine has it; or look for the operator's.

use std::process::ExitCode;
use std::time::Instant;

use mgx_runtimes::image::Made;

use crate::cli::out::{self, Failure, Outcome};
use crate::config::Config;
use crate::engine::images;
use crate::image::{AgentImage, Presence, remedy_of_missing};

/// What to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print nothing but the name of the image, to build another one from it.
    #[arg(short, long)]
    quiet: bool,
}

/// Makes the image, if it is the platform's own.
pub(crate) async fn run(config: &Config, args: &Args) -> Outcome {
    let image = AgentImage::of(config);
    let (began, images) = (Instant::now(), images(config));
    let advised = |error| Failure::new(format!("{error}; `mgx doctor` says what is missing"));
    if image.presence(&*images).await.map_err(advised)? == Presence::Missing {
        let (name, remedy) = (&image.name, remedy_of_missing(&image.name));
        return Err(Failure::new(format!("{name} (agent.image) is not in the engine: {remedy}")));
    }
    let made = match image.make(&*images).await.map_err(advised)? {
        Made::Built => "built",
        Made::Present => "present",
    };
    if args.quiet {
        out::line(&image.name);
    } else {
        out::line(format_args!("{}  {made}  {} ms", image.name, began.elapsed().as_millis()));
    }
    Ok(ExitCode::SUCCESS)
}
