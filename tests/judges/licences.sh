#!/usr/bin/env bash
# Licences, sources and duplicates of the dependencies; needs cargo-deny.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo deny check bans licenses sources
