//! Commands about sessions: `mgx run`, `mgx continue`, `mgx session`, `mgx files`, `mgx messages`, `mgx events`,
//! `mgx export` and `mgx import`.

pub(super) mod events;
pub(super) mod export;
pub(super) mod files;
pub(super) mod list;
pub(super) mod messages;
pub(super) mod run;
mod screen;
mod summary;
mod transcript;

/// What to do with sessions.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List sessions, the newest first.
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// List, print or fetch the files of a session: the same as `mgx files`.
    #[command(after_help = files::EXAMPLES)]
    Files(files::Args),
}
