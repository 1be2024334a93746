#!/usr/bin/env bash
# Kills, stalls and floods the server, fills its disk and sets its clock: [CYCLES=300 [JOBS=5000 [SEED=1 [OPTIONS]]]].
set -euo pipefail
cd "$(dirname "$0")/../../.."
just build
cargo build --locked --release -p mgx-tests --bin chaos
target/release/chaos run --runtime process --cycles "${1:-300}" --jobs "${2:-5000}" --seed "${3:-1}" "${@:4}"
