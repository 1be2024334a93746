//! The version of this program, and which build it is.

/// How this program was built, if it is not the release build: the variable `MGX_BUILD` at the time of compilation.
const BUILD: Option<&str> = option_env!("MGX_BUILD");

/// `0.1.0`, or `0.1.0 (quick build)`.
pub(crate) fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match build(BUILD) {
        Some(build) => format!("{version} ({build} build)"),
        None => version.to_owned(),
    }
}

/// The warning at the start of a build that is not the release build.
pub(crate) fn build_notice() -> Option<String> {
    build(BUILD).map(|build| {
        format!("this is the {build} build, which is slower; `just build` makes the release build")
    })
}

/// The name of the build, unless it is empty.
fn build(name: Option<&str>) -> Option<&str> {
    name.filter(|name| !name.is_empty())
}
