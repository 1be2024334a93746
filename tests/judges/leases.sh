#!/usr/bin/env bash
# Leases of a warm pool on each engine, one after the other: nothing of one is left for the next: [LEASES=1000].
# Each lease looks for what the others left in files, environment, processes and shared memory, and leaves the same.
set -euo pipefail
cd "$(dirname "$0")/../.."
just _runner
MGX_POOL_LEASES=${1:-1000} cargo test --locked -p mgx-runtimes --test docker a_lease_leaves_nothing -- --nocapture
