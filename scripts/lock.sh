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

compile "$all" --extra torch --extra test "${@}"
compile images/host/requirements.lock --constraint "$all" --generate-hashes
compile images/host/torch.lock --constraint "$all" --generate-hashes --extra torch
compile tests/requirements.lock --constraint "$all" --generate-hashes --extra test

sed -i -E '/^(torch|torchvision)==/d' "$all"
# The boards' pair: newer wheels hold instructions that a Cortex-A53 and an A57 lack (tests/lab runs them on both).
printf 'torch==2.3.1\ntorchvision==0.18.1\n' | UV_PYTHON_DOWNLOADS=never "$uv" pip compile - --quiet --only-binary :all: \
    --python-version 3.11 --python-platform aarch64-manylinux_2_28 --no-annotate --no-header --no-emit-index-url \
    --constraint "$all" --generate-hashes --output-file images/host/torch-arm64.lock "${@}"
