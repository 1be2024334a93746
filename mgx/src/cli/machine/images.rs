//! `mgx images`: build the agent image from the runner, unless the engine has it.

use std::process::ExitCode;
use std::time::Instant;

use mgx_runtimes::image::Made;

use crate::cli::out::{self, Failure, Outcome};
use crate::config::Config;
use crate::engine::images;
use crate::image::AgentImage;

/// Builds the image.
pub(crate) async fn run(config: &Config) -> Outcome {
    let image = AgentImage::of(config);
    if image.runner.is_none() {
        let message = "there is no runner to build the image from; run `just build`, or set agent.runner";
        return Err(Failure::new(message));
    }
    let began = Instant::now();
    let made = image.make(&*images(config)).await;
    let made =
        match made.map_err(|error| Failure::new(format!("{error}; `mgx doctor` says what is missing")))? {
            Made::Built => "built",
            Made::Present => "present",
        };
    out::line(format_args!("{}  {made}  {} ms", image.tag, began.elapsed().as_millis()));
    Ok(ExitCode::SUCCESS)
}
