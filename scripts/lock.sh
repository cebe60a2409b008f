#!/usr/bin/env bash
# Resolves pyproject.toml into the hash-pinned lock files; run after a dependency changes, and commit what it writes.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
all=$(mktemp)
trap 'rm -f "$all"' EXIT

compile() {  # compile OUTPUT ARGUMENT...
    output=$1; shift
    UV_PYTHON_DOWNLOADS=never "$uv" pip compile pyproject.toml --universal --python-version 3.10 --quiet \
        --no-annotate --no-header --no-emit-index-url --output-file "$output" "$@"
}

compile "$all" --extra torch --extra test --generate-hashes "${@}"
compile images/host/requirements.lock --constraint "$all" --generate-hashes
compile images/host/torch.lock --constraint "$all" --generate-hashes --extra torch
compile tests/requirements.lock --constraint "$all" --generate-hashes --extra test
