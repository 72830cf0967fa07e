#!/usr/bin/env bash
# Train Edit-R2's joint update from a shipped checkpoint, evaluate before and after on the same held-out sessions.
# More settings are KEY=VALUE words; `editenv train --help` names them. The same command again resumes.
set -euo pipefail
out=${1:-runs/example}
shift || true
editenv evaluate model=practice suite=mixed sessions="${SESSIONS:-64}" out="$out/before"
editenv train experiment=demo seed=0 out="$out/run" "$@"
editenv evaluate model="$out/run" suite=mixed sessions="${SESSIONS:-64}" out="$out/after"
