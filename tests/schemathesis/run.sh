#!/usr/bin/env bash
# Schemathesis judges a live server: requests made of /openapi.json, right and wrong ones, and chains of them.
# `run.sh [EXAMPLES [SECONDS]]`; MGX_BIN names the server. Needs python3.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
examples=${1:-10}
seconds=${2:-300}
mgx=${MGX_BIN:-$here/../../target/release/mgx}
# what steers this is no setting of the server's
unset MGX_BIN
tools=$here/../../target/tools/schemathesis
if ! [ -x "$tools/bin/st" ] || ! cmp -s "$here/requirements.txt" "$tools/requirements.txt"; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$tools/requirements.txt"
fi

dir=$(mktemp -d)
trap '(cd "$dir" && "$mgx" down >/dev/null 2>&1) || true; rm -rf "$dir"' EXIT
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
# a queue that nothing holds up, and room for everything that is made up
cat > "$dir/mgx.toml" <<TOML
runtime = "null"
server.listen = "127.0.0.1:$port"
log.level = "warn"
TOML
cd "$dir"
"$mgx" up --detach >/dev/null
token=$(cat data/admin.token)
url=http://127.0.0.1:$port
ask() { curl -sS --fail -H "Authorization: Bearer $token" -H 'Content-Type: application/json' "$url$1" -d "$2"; }
ask /api/sessions '{"session_id": "judged", "prompt": "x"}' > made.json
ask /api/admin/users '{"name": "judged"}' > /dev/null
ask /api/admin/clients '{"client_id": "judged", "name": "Judged", "confidential": true, "redirect_uris": ["https://judged.example/"]}' > /dev/null
JUDGED_JOB=$(python3 -c 'import json; print(json.load(open("made.json"))["job"]["job_id"])')
export JUDGED_JOB
cp "$here/hooks.py" "$here/schemathesis.toml" .
status=0
"$tools/bin/st" run "$url/openapi.json" -H "Authorization: Bearer $token" --max-examples "$examples" \
    --request-timeout 20 --max-time "$seconds" || status=$?
if grep -E 'ERROR|panicked' data/mgx.log; then
    echo "the server's log has errors" >&2
    exit 1
fi
exit "$status"
