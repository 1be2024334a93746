#!/usr/bin/env bash
# The states of jobs and the isolation of containers on Podman, and with a warm pool in front of both engines.
set -euo pipefail
cd "$(dirname "$0")/../.."
just _runner
it() { MGX_TEST_ENGINE=$1 cargo test --locked -p mgx-tests --test it -- "${@:2}"; }
it podman truth:: containment:: pool::
it pool:docker truth:: containment::
it pool:podman truth:: containment::
