#!/usr/bin/env bash
# Requests made from the API's own description, valid and invalid, against a live server: [EXAMPLES=50 [SECONDS=600]]; needs python3.
set -euo pipefail
cd "$(dirname "$0")/../.."
just build
tests/schemathesis/run.sh "${1:-50}" "${2:-600}"
