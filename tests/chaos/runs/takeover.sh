#!/usr/bin/env bash
# Kills the scheduling one of three processes behind haproxy; another takes over within 5 s: [CYCLES=30 [JOBS=600]].
# On a MongoDB server, as in docs/deployment.md.
set -euo pipefail
cd "$(dirname "$0")/../../.."
./bootstrap.sh mongo
./bootstrap.sh haproxy
# Debian installs haproxy where only root's PATH leads
MGX_TEST_HAPROXY=$(PATH="$PATH:/usr/sbin" command -v haproxy) tests/chaos/runs/process.sh "${1:-30}" "${2:-600}" 1 \
    --store mongodb --processes 3 --nemesis kill --max-start 5000
