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
stamp=.venv/dime-$(cat "$0" pyproject.toml "${locks[@]}" | sha256sum | cut -c1-16)
is_made() {  # as asked for; one who says nothing of PyTorch takes what is there
    compgen -G "$stamp-${SETUP_TORCH:-*}" >/dev/null
}
is_made && exit 0

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

exec 9<"$0"  # one set-up at a time; the others wait for it and find it done
flock 9
is_made && exit 0
quiet=--quiet
[ -t 2 ] && quiet=""  # a person sees the installers' progress bars

newest_python() {
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10}; do
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo "$name" && return
    done
    fail "Python 3.10 or newer is needed; found $("${PYTHON:-python3}" --version 2>&1 || echo none). Set PYTHON=/path/to/python3"
}

make_venv() {  # with uv in it
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null && ! command -v uv >/dev/null; then
        local sudo="" package
        package=$("$python" -c 'import sys; print("python{}.{}-venv".format(*sys.version_info))')
        say "this Python has no venv module; installing Debian's $package"
        [ "$(id -u)" = 0 ] || sudo="sudo -n"
        { $sudo apt-get update -qq && $sudo apt-get install -y -qq "$package"; } >/dev/null 2>&1 ||
            fail "could not install it; type: sudo apt-get install $package, or put uv on the PATH"
    fi
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        "$python" -m venv --clear .venv
        .venv/bin/python -m pip install $quiet --disable-pip-version-check --require-hashes -r scripts/uv.lock
    else
        uv venv $quiet --clear --python "$python" .venv
        uv pip install $quiet --python .venv/bin/python --require-hashes -r scripts/uv.lock
    fi
}

install() { .venv/bin/uv pip install $quiet --python .venv/bin/python "$@"; }

cpu_torch() (  # the versions of the lock, from PyTorch's own index
    mapfile -t pins < <(sed -nE 's/^(torch(vision)?==[0-9.]+).*/\1/p' images/host/torch.lock)
    say "asking PyTorch's own index for CPU wheels"
    export UV_HTTP_TIMEOUT=10 UV_HTTP_RETRIES=0
    install --dry-run --torch-backend cpu "${pins[@]}" >/dev/null 2>&1 || return 1
    UV_HTTP_TIMEOUT=60 install --torch-backend cpu "${pins[@]}"
)

has_gpu() { [ -e /dev/nvidia0 ] || [ -e /dev/nvhost-gpu ] || nvidia-smi -L >/dev/null 2>&1; }

case ${SETUP_TORCH:-auto} in auto | cpu | locked) ;; *) fail "SETUP_TORCH=$SETUP_TORCH is not one of auto, cpu, locked" ;; esac
python=$(newest_python)
say "making .venv with $("$python" --version)"
make_venv
say "installing the locked packages"
install --require-hashes -r tests/requirements.lock
case ${SETUP_TORCH:-auto} in
    locked) torch=locked ;;
    cpu) cpu_torch || fail "PyTorch's own index did not give CPU wheels; try SETUP_TORCH=locked"; torch=cpu ;;
    auto) torch=locked; ! has_gpu && cpu_torch && torch=cpu ;;
esac
if [ "$torch" = locked ]; then
    say "installing the locked PyTorch (about 5 GB on disk)"
    install --require-hashes -r images/host/torch.lock
fi
install --no-deps --no-build-isolation --editable .
touch "$stamp-${SETUP_TORCH:-auto}"
say "ready"
