//! End to end: the real `mgx`, a real engine, and the public API. One test binary, because linking takes long.

mod bad_input;
mod chaos;
mod cluster;
mod containment;
mod crowd;
mod cuts;
mod gate;
mod isolation;
mod kill;
mod policies;
mod pool;
mod provider;
mod queue;
mod roles;
mod secrets;
mod session;
mod slow;
mod sse;
mod timeout;
mod truth;
mod upgrade;
