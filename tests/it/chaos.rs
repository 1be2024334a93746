//! A slice of the chaos that `just chaos` makes for longer: clients, nemeses, and a checker of its own.

use std::process::Command;

use mgx_testkit::Volume;

/// Strikes so many times while so many jobs are accepted; everything else is in `tests/chaos`.
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
    let everybody = ["killed", "clock: ", "flood: ", "stall: ", "disk: full"];
    // a disk of one's own wants root, the others want nothing that the tests do not
    for nemesis in &everybody[..if Volume::is_possible() { 5 } else { 4 }] {
        assert!(said.contains(nemesis), "no {nemesis}:\n{said}");
    }
}

// The small server answers nobody for a minute or two now and then, once in a dozen runs, without anything having been
// done to it (137 s have been seen). A job that is to be cancelled has ended by itself by then, which the checker knows. One
// whose start was being written down has used up its two minutes meanwhile: that fails as `InTime`, in a run that took much
// longer than the usual half a minute.
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
