//! Whatever a model service sends: a reply or one error, and the same one however its bytes arrive.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mgx_protocol::sse::Parser;

/// The runner is a program without a library: its reader is compiled in.
#[expect(dead_code, reason = "the fuzzer calls less of it than the runner does")]
#[path = "../../agent-runner/src/team/model"]
mod model {
    pub mod reply;
}

use model::reply::CallIds;
use model::reply::assembly::Assembly;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, wire) = input;
    let whole = read(wire, wire.len().max(1));
    let pieces = read(wire, usize::from(piece).max(1));
    assert_eq!(whole, pieces, "a reply does not depend on how it arrives");
});

/// What is read of the events in `wire`, which comes in pieces; ids of ours are left out, for they are random.
fn read(wire: &[u8], piece: usize) -> String {
    let (mut events, mut assembly) = (Parser::new(1 << 20), Assembly::new(vec!["write_file".to_owned()]));
    for mut bytes in wire.chunks(piece) {
        loop {
            match events.next_frame(&mut bytes) {
                Ok(Some(event)) => match assembly.push(event.data) {
                    Ok(_) => {}
                    Err(bad) => return format!("{bad:?}"),
                },
                Ok(None) => break,
                Err(_) => return "too large".to_owned(),
            }
        }
    }
    match assembly.finish(&mut CallIds::default()) {
        Ok(Some(reply)) => {
            let calls: Vec<_> = reply.calls.iter().map(|call| (&call.name, &call.arguments)).collect();
            format!("{} {} {calls:?} {:?}", reply.content, reply.reasoning, reply.finish)
        }
        other => format!("{other:?}"),
    }
}
