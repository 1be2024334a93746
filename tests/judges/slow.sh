#!/usr/bin/env bash
# A thousand connections that are slow on purpose do not slow down the others: [SECONDS=60]; for a quiet machine.
# The 99th percentile of a healthy client is at most twice what it is without them.
set -euo pipefail
cd "$(dirname "$0")/../.."
just build
MGX_BIN="$PWD/target/release/mgx" MGX_SLOW_SECONDS=${1:-60} \
    cargo test --locked -p mgx-tests --test it slow:: -- --include-ignored --nocapture
