//! Short runs of what `just chaos process` does for longer: clients, faults, and a checker of its own.

use std::process::Command;

use mgx_testkit::Volume;

/// Runs so many cycles of faults while so many jobs are accepted; everything else is in `tests/chaos`.
fn chaos(runtime: &str, cycles: &str, jobs: &str, more: &[&str]) -> String {
    let mut chaos = Command::new(env!("CARGO_BIN_EXE_chaos"));
    chaos
        .args(["run", "--runtime", runtime, "--cycles", cycles, "--jobs", jobs, "--minutes", "5"])
        .args(more);
    let output = chaos.output().expect("it can be started");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("every promise was kept"), "{said}\n{errors}");
    said.into_owned()
}

#[test]
fn twelve_cycles_on_processes() {
    let said = chaos("process", "12", "120", &["--flood", "500"]);
    let kinds = ["killed", "clock: ", "flood: ", "stall: ", "disk: full"];
    // a disk of its own needs root, the other kinds need nothing that the tests do not
    for nemesis in &kinds[..if Volume::is_possible() { 5 } else { 4 }] {
        assert!(said.contains(nemesis), "no {nemesis}:\n{said}");
    }
}

// The small MongoDB-compatible server stops answering for a minute or two in about one of twelve runs, without a fault
// having been injected (up to 137 s). A job that is to be cancelled has ended by itself by then, which the checker accepts.
// A job whose start was being written has used up its two minutes meanwhile, and fails as `InTime`, in a run that takes
// much longer than the usual half a minute.
#[test]
fn five_cycles_on_a_mongodb_server() {
    let said = chaos("process", "5", "50", &["--store", "mongodb", "--nemesis", "kill,store"]);
    assert!(said.contains("store: "), "no store:\n{said}");
}

#[test]
fn four_cycles_of_three_processes() {
    chaos("process", "4", "40", &["--store", "mongodb", "--processes", "3", "--nemesis", "kill,store"]);
}

#[test]
fn three_cycles_on_a_real_engine() {
    chaos("docker", "3", "30", &["--nemesis", "kill,clock,stall"]);
}
