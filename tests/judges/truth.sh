#!/usr/bin/env bash
# Whether a job's state is true in every case, 20 times; 30 containers across a restart; a deadline of 60 s: [RUNTIME=docker].
# RUNTIME is docker, podman, pool:docker or pool:podman.
set -euo pipefail
cd "$(dirname "$0")/../.."
just build
MGX_TEST_ENGINE=${1:-docker} MGX_BIN="$PWD/target/release/mgx" \
    MGX_TRUTH_REPEATS=20 MGX_TRUTH_CONTAINERS=30 MGX_TRUTH_WITHIN_MS=2000 MGX_TRUTH_TIMEOUT_S=60 \
    cargo test --locked -p mgx-tests --test it truth:: -- --test-threads 1
