//! End to end: the real `mgx`, a real engine, and the public API. One test binary, because linking takes long.

mod bad_input;
mod connections;
mod containers;
mod jobs;
mod processes;
