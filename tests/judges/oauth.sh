#!/usr/bin/env bash
# Certified client libraries run every OAuth 2 flow against a live provider, and find the faults of mutated ones; needs node.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --locked -p mgx-oauth2 --features testing --example serve
cargo build --locked --bin mgx
cd tests/oauth2
npm ci
npm test
