#!/usr/bin/env bash
# Backups of a server under load: each is restored into a new platform that has all that was accepted before: [BACKUPS=100].
set -euo pipefail
cd "$(dirname "$0")/../.."
MGX_BACKUPS=${1:-100} cargo test --locked --release -p mgx --test backup under_load -- --nocapture
