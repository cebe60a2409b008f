#!/usr/bin/env bash
# Makes .venv with everything that the targets of the Makefile need; does nothing when it is up to date.
#
# SETUP_TORCH  where PyTorch comes from:
#          auto  (default) the locked pair when there is an NVIDIA GPU; else CPU wheels, or the locked pair where
#                PyTorch's own index does not answer
#          cpu   CPU wheels from PyTorch's own index, pinned by version
#          locked  the hash-pinned pair, which runs on CUDA and on the CPU
# PYTHON an interpreter, 3.10 or newer
set -euo pipefail
cd "$(dirname "$0")/.."

locks=(scripts/uv.lock images/host/torch.lock tests/requirements.lock)
stamp=.venv/dime-$(cat "$0" pyproject.toml "${locks[@]}" | sha256sum | cut -c1-16)-${SETUP_TORCH:-auto}
[ -e "$stamp" ] && exit 0

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

newest_python() {
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo "$name" && return
    done
    fail "Python 3.10 or newer is needed; found $(python3 --version 2>&1 || echo none). Set PYTHON=/path/to/python3"
}

make_venv() {
    "$python" -m venv --clear .venv >/dev/null 2>&1 && return
    say "this Python has no venv module; installing Debian's python3-venv"
    local sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    { $sudo apt-get update -qq && $sudo apt-get install -y -qq python3-venv; } >/dev/null 2>&1 ||
        fail "could not install it; type: sudo apt-get install python3-venv"
    "$python" -m venv --clear .venv
}

install() { .venv/bin/uv pip install --quiet --python .venv/bin/python "$@"; }

cpu_torch() {  # the versions of the lock, from PyTorch's own index
    local pins
    mapfile -t pins < <(sed -nE 's/^(torch(vision)?==[0-9.]+).*/\1/p' images/host/torch.lock)
    UV_HTTP_TIMEOUT=30 UV_HTTP_RETRIES=0 install --torch-backend cpu "${pins[@]}" 2>/dev/null
}

has_gpu() { [ -e /dev/nvidia0 ] || [ -e /dev/nvhost-gpu ] || nvidia-smi -L >/dev/null 2>&1; }

python=$(newest_python)
say "making .venv with $("$python" --version)"
make_venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r scripts/uv.lock
say "installing the locked packages"
install --require-hashes -r tests/requirements.lock
case ${SETUP_TORCH:-auto} in
    locked) torch=locked ;;
    cpu) cpu_torch || fail "PyTorch's own index did not give CPU wheels; try SETUP_TORCH=locked"; torch=cpu ;;
    auto) torch=locked; ! has_gpu && cpu_torch && torch=cpu ;;
    *) fail "SETUP_TORCH=$SETUP_TORCH is not one of auto, cpu, locked" ;;
esac
if [ "$torch" = locked ]; then
    say "installing the locked PyTorch (about 5 GB on disk)"
    install --require-hashes -r images/host/torch.lock
fi
install --no-deps --no-build-isolation --editable .
touch "$stamp"
say "ready"
