//! The command of an invocation and its processes: started, supervised, signalled and reaped.

pub(crate) mod exec;
pub(crate) mod oom;
pub(crate) mod processes;
pub(crate) mod supervisor;
