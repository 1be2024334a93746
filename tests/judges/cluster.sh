#!/usr/bin/env bash
# What several processes promise, through haproxy as in docs/deployment.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
just build
./bootstrap.sh mongo
./bootstrap.sh haproxy
# Debian installs haproxy where only root's PATH leads
MGX_TEST_HAPROXY=$(PATH="$PATH:/usr/sbin" command -v haproxy) MGX_BIN="$PWD/target/release/mgx" \
    cargo test --locked -p mgx-tests --test it -- processes::cluster:: processes::roles:: --nocapture
