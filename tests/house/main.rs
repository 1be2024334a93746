//! The repository's rules as tests: one rule to a file, each with a control that breaks it on purpose.
//!
//! Every rule is a pure function from the repository's files to a list of violations. A violation names the file, and
//! says what to do.

mod arrows;
mod circles;
mod config_keys;
mod deployment;
mod docs;
mod layout;
mod lints;
mod repository;
mod translation;
mod words;
