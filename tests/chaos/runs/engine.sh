#!/usr/bin/env bash
# Kills, stops and suspends a Docker engine of its own, with and without live-restore: [CYCLES=30 [JOBS=300 [SEED=1]]].
set -euo pipefail
cd "$(dirname "$0")"
./docker.sh "${1:-30}" "${2:-300}" "${3:-1}" --nemesis kill,engine --live-restore
./docker.sh "${1:-30}" "${2:-300}" "${3:-1}" --nemesis kill,engine
