#!/usr/bin/env bash
# Readers of event streams whose connections are cut see every event once: [CUTS=200]; needs node and python3.
# Three readers: the Rust client, `eventsource` in Node, and the Python example. The server is killed meanwhile.
set -euo pipefail
cd "$(dirname "$0")/../.."
just build
npm install --silent --no-audit --no-fund --prefix target/tools/clients eventsource@4.1.1
python3 -m pip install --quiet --disable-pip-version-check --target target/tools/clients/python --upgrade httpx==0.28.1
MGX_BIN="$PWD/target/release/mgx" MGX_CUTS=${1:-200} cargo test --locked -p mgx-tests --test it cuts:: -- --nocapture
