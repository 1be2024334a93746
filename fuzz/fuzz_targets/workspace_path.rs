//! Whatever stands in a request target: a path of plain names that stays below its directory, or a refusal.

#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use mgx_workspaces::WorkspacePath;
use mgx_workspaces::path::{MAX_NAME, MAX_PATH};

fuzz_target!(|text: &str| {
    for path in [WorkspacePath::parse(text), WorkspacePath::from_url(text)].into_iter().flatten() {
        let plain = path.as_str();
        assert!(!plain.is_empty() && plain.len() <= 4 * MAX_PATH);
        assert!(Path::new(plain).components().all(|part| matches!(part, Component::Normal(_))));
        assert!(path.names().all(|name| !name.is_empty() && name.len() <= 4 * MAX_NAME));
        assert!(!plain.contains(char::is_control));
        assert_eq!(path.names().collect::<Vec<_>>().join("/"), plain);
        assert_eq!(WorkspacePath::parse(plain).as_ref(), Ok(&path));
        let encoded: String = plain
            .bytes()
            .map(|byte| if byte == b'/' { "/".into() } else { format!("%{byte:02X}") })
            .collect();
        assert_eq!(WorkspacePath::from_url(&encoded).as_ref(), Ok(&path), "what is encoded once is decoded once");
    }
});
