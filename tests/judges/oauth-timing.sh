#!/usr/bin/env bash
# How long tokens and passwords take to verify, and whether that tells which users exist; for a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
just build
cargo test --locked --release -p mgx-oauth2 --test oauth2 --test timing -- --include-ignored --nocapture --test-threads 1 takes
MGX_BIN="$PWD/target/release/mgx" cargo test --locked -p mgx-tests --test it gate:: -- --include-ignored --nocapture
