//! A slice of the chaos that `just chaos` makes for longer: clients, a nemesis, and a checker of its own.

use std::process::Command;

/// Kills the server so many times while so many jobs are accepted; everything else is in `tests/chaos`.
fn chaos(runtime: &str, cycles: &str, jobs: &str) {
    let mut chaos = Command::new(env!("CARGO_BIN_EXE_chaos"));
    chaos.args(["run", "--runtime", runtime, "--cycles", cycles, "--jobs", jobs, "--minutes", "5"]);
    let output = chaos.output().expect("it can be started");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("every promise was kept"), "{said}\n{errors}");
}

#[test]
fn fifteen_kills_on_processes() {
    chaos("process", "15", "150");
}

#[test]
fn two_kills_on_a_real_engine() {
    chaos("docker", "2", "20");
}
