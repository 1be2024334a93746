#!/usr/bin/env bash
# Kills and disturbs the server and a Docker engine of its own while jobs run in containers: [CYCLES=60 [JOBS=500 [SEED=1 [OPTIONS]]]].
set -euo pipefail
cd "$(dirname "$0")/../../.."
just build
cargo build --locked --release -p mgx-tests --bin chaos
target/release/chaos run --runtime docker --cycles "${1:-60}" --jobs "${2:-500}" --seed "${3:-1}" "${@:4}"
