//! The platform's processes: killed, replaced, several at once, and under faults.

mod chaos;
mod cluster;
mod kill;
mod moved;
mod paused;
mod roles;
mod upgrade;
