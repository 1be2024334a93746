#!/usr/bin/env bash
# Runs a script by its name, or lists the scripts of a folder: `scripts.sh FOLDER [NAME [ARGUMENTS]]`.
# The second line of each script says what it does.
set -euo pipefail
folder=$1 name=${2:-}
if [ -z "$name" ]; then
    for script in "$folder"/*.sh; do
        printf '%-14s %s\n' "$(basename "$script" .sh)" "$(sed -n '2s/^# //p' "$script")"
    done
    exit
fi
if ! [ -x "$folder/$name.sh" ]; then
    echo "there is no $folder/$name.sh" >&2
    exit 2
fi
shift 2
exec "$folder/$name.sh" "$@"
