#!/usr/bin/env bash
# A release, made and checked; nothing is published.
#   scripts/release.sh            wheel, source archive and both images; needs docker with buildx
#   scripts/release.sh packages   wheel and source archive
#   scripts/release.sh wheel      the same, without the check
# DIST      the folder that gets wheel, source archive and SHA256SUMS (dist)
# REGISTRY  where the images are sent; without it they stay on this computer
set -euo pipefail
cd "$(dirname "$0")/.."

what=${1:-all}
dist=${DIST:-dist}
uv=.venv/bin/uv
python=.venv/bin/python
say() { printf 'release: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

case $what in all | packages | wheel) ;; *) sed -n '2,7s/^# //p' "$0" >&2; exit 2 ;; esac
version=$("$python" -c 'import dime; print(dime.__version__)')
grep -q "^## $version" CHANGELOG.md || fail "CHANGELOG.md has no '## $version'"
if [ "$what" = all ]; then
    [ -z "$(git status --porcelain)" ] || fail "commit first: a release is of a revision"
    docker buildx version >/dev/null 2>&1 || fail "docker with buildx makes the images: scripts/computer.sh says how; or: scripts/release.sh packages"
fi

say "builds wheel and source archive of dime $version"
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
mkdir -p "$dist"
rm -f "$dist"/dime-*
"$uv" build --quiet --no-build-isolation --python "$python" --out-dir "$dist" .  # the wheel from the archive, so that is whole
(cd "$dist" && sha256sum dime-*.whl dime-*.tar.gz >SHA256SUMS)
[ "$what" = wheel ] && exit

say "installs the wheel into an empty environment"
mkdir -p build
room=$(mktemp -d -p "$PWD/build" release.XXXXXX)  # the disk of .venv: uv links what it has
trap 'rm -rf "$room"' EXIT
"$uv" venv --quiet --python "$python" "$room/venv"
# The versions that were tested, so also the build of PyTorch that this computer has.
"$uv" pip freeze --python "$python" --exclude-editable >"$room/tested"
backend=$(sed -nE 's/^torch==.*\+(.*)/\1/p' "$room/tested")
"$uv" pip install --quiet --python "$room/venv/bin/python" ${backend:+--torch-backend "$backend"} \
    --constraint "$room/tested" "$(echo "$dist"/dime-*.whl)"

mkdir "$room/folder"
installed() { (cd "$room/folder" && env -u PYTHONPATH -u VIRTUAL_ENV PATH=/usr/bin:/bin "$room/venv/bin/$1" "${@:2}"); }
[ "$(installed dime --version)" = "dime $version" ] || fail "the wheel says another version"
place=$(installed python -c 'import dime; print(dime.__file__)')
[[ $place = "$room/venv/"* ]] || fail "the wheel is not what is imported, but $place"
say "runs the demo from it"
installed dime demo >"$room/said" 2>&1 || { cat "$room/said" >&2; fail "the demo failed from the wheel"; }
report=$(sed -n 's/^report: //p' "$room/said" | tail -1)
[ -n "$report" ] && [ -s "$room/folder/$report" ] || { cat "$room/said" >&2; fail "the demo made no report"; }
say "the wheel works: $(cd "$dist" && ls dime-*.whl)"
[ "$what" = packages ] && exit

export TAG=$version
if [ -n "${REGISTRY:-}" ]; then .venv/bin/dime push "--registry=$REGISTRY"; else .venv/bin/dime build; fi
say "ready. Next: git tag v$version && git push --tags, and upload $dist/dime-$version*"
