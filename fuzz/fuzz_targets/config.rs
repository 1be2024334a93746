//! Whatever stands in a configuration file or a variable: settings, or a list of what is wrong with them.

#![no_main]

use std::ffi::OsString;
use std::fs;

use libfuzzer_sys::fuzz_target;
use mgx::config::{Inputs, load};

fuzz_target!(|text: &str| {
    let dir = std::env::temp_dir().join(format!("mgx-fuzz-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory for temporary files");
    let file = dir.join("mgx.toml");
    fs::write(&file, text).expect("room for one small file");
    let in_file = Inputs { file: Some(file), dir: dir.clone(), ..Inputs::default() };
    let variable = |name: &str| (OsString::from(name), OsString::from(text.replace('\0', "")));
    let env = ["MGX_AGENT__MEMORY", "MGX_AGENT__TIMEOUT", "MGX_SERVER__LISTEN", "AGENT_CONTAINER_CPU_QUOTA"];
    let in_env = Inputs { dir, env: env.map(variable).into(), ..Inputs::default() };
    for inputs in [in_file, in_env] {
        match load(&inputs) {
            Ok(loaded) => assert!(loaded.config.agent.max_memory.bytes() >= loaded.config.agent.memory.bytes()),
            Err(problems) => assert!(!problems.0.is_empty() && !problems.to_string().trim().is_empty()),
        }
    }
});
