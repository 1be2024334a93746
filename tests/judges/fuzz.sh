#!/usr/bin/env bash
# Fuzzes link_codec, config, workspace_path or reply: TARGET [SECONDS=60]; needs cargo-fuzz and a nightly toolchain.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo +nightly fuzz run "$1" -- -max_total_time="${2:-60}"
