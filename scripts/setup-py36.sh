#!/usr/bin/env bash
# Makes .venv-py36, in which the suite checks the device side on a real Python 3.6; does nothing when it is up to date.
# Exits with 3 where there is no Python 3.6.
set -euo pipefail
cd "$(dirname "$0")/.."

lock=tests/requirements-py36.lock
stamp=.venv-py36/dime-$(cat "$0" "$lock" | sha256sum | cut -c1-16)
[ -e "$stamp" ] && exit 0
exec 9<"$0"  # one set-up at a time, of all the processes that share the tests; the others wait for it and find it done
flock 9
[ -e "$stamp" ] && exit 0

find_python36() {
    local versions name
    versions=$(pyenv versions --bare 2>/dev/null | grep '^3\.6\.' || true)
    for name in python3.6 ${versions:+"$(pyenv prefix "${versions##*$'\n'}")/bin/python"}; do
        "$name" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 6))' 2>/dev/null && echo "$name" && return
    done
    printf 'setup: there is no Python 3.6 here, neither python3.6 nor in pyenv\n' >&2
    exit 3
}

python=$(find_python36)
"$python" -m venv --clear .venv-py36
# The pip that ships with 3.6 cannot see today's wheels.
.venv-py36/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r scripts/pip-py36.lock
.venv-py36/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$lock"
touch "$stamp"
