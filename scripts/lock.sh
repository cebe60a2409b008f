#!/usr/bin/env bash
# Resolves pyproject.toml into the hash-pinned lock files; run after a dependency changes, and commit what it writes.
#   scripts/lock.sh          all lock files
#   scripts/lock.sh bases    the digests of the images' bases, in docker/docker-bake.hcl; needs docker with buildx
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" = bases ]; then
    bake=docker/docker-bake.hcl
    for name in $(sed -nE 's/^variable "(HOST_BASE|JETSON_BASE|TOOLS)" .*"([^"@]+)[^"]*" .*/\2/p' $bake | sort -u); do
        digest=$(docker buildx imagetools inspect "$name" --format '{{.Manifest.Digest}}')
        [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || { echo "$name: its registry names no digest" >&2; exit 1; }
        sed -i -E "s|\"$name(@sha256:[0-9a-f]*)?\"|\"$name@$digest\"|" $bake
    done
    exit
fi

uv=${UV:-.venv/bin/uv}
all=$(mktemp)
no_torch=$(mktemp)  # PyTorch has a lock of its own, since it comes from several places
printf "torch; python_version < '3'\ntorchvision; python_version < '3'\n" >"$no_torch"
trap 'rm -f "$all" "$no_torch"' EXIT

compile() {  # compile OUTPUT ARGUMENT...
    output=$1; shift
    UV_PYTHON_DOWNLOADS=never "$uv" pip compile pyproject.toml --universal --python-version 3.10 --quiet \
        --no-annotate --no-header --no-emit-index-url --output-file "$output" "$@"
}

compile "$all" --extra torch --extra test --extra docs "${@}"
compile images/host/requirements.lock --constraint "$all" --override "$no_torch" --generate-hashes
compile images/host/torch.lock --constraint "$all" --generate-hashes --extra torch
compile tests/requirements.lock --constraint "$all" --override "$no_torch" --generate-hashes --extra test --extra docs

sed -i -E '/^(torch|torchvision)==/d' "$all"
# The boards' pair: newer wheels hold instructions that a Cortex-A53 and an A57 lack (tests/lab runs them on both).
printf 'torch==2.3.1\ntorchvision==0.18.1\n' | UV_PYTHON_DOWNLOADS=never "$uv" pip compile - --quiet --only-binary :all: \
    --python-version 3.11 --python-platform aarch64-manylinux_2_28 --no-annotate --no-header --no-emit-index-url \
    --constraint "$all" --generate-hashes --output-file images/host/torch-arm64.lock "${@}"
# amd64 without CUDA: the same versions from PyTorch's own index, which names the hashes.
printf 'torch==%s\ntorchvision==%s\n' $(sed -nE 's/^torch(vision)?==([0-9.]+).*/\2/p' images/host/torch.lock) |
    UV_PYTHON_DOWNLOADS=never "$uv" pip compile - --quiet --only-binary :all: --torch-backend cpu \
    --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate --no-header --no-emit-index-url \
    --constraint "$all" --generate-hashes --output-file images/host/torch-cpu.lock "${@}"
