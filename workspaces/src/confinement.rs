//! What keeps file operations inside of their directory, whatever the processes of a container do there.

pub(crate) mod beneath;
pub(crate) mod removal;
pub(crate) mod root;
