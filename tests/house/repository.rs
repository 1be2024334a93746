//! The repository as the rules read it: its files, Markdown, Rust source and imports.

pub(crate) mod imports;
pub(crate) mod markdown;
pub(crate) mod rust_source;
pub(crate) mod tree;
