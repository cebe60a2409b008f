#!/usr/bin/env bash
# The test suite, in parts that differ in what may run beside them (CONTRIBUTING.md has the table).
#   scripts/test.sh quick   what is told in ten minutes on two cores
#   scripts/test.sh all     every test, benchmarks and lab too
# ARGS="-k links" goes on to pytest; where it names tests or marks itself, those are run, one after the other.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTEST_ADDOPTS=${ARGS:-}
unset PYTHONDONTWRITEBYTECODE  # hundreds of processes would compile torch anew, for seconds each

case " $PYTEST_ADDOPTS" in *" -m"* | *" tests"* | *" ./tests"*) exec .venv/bin/python -m pytest ;; esac

code=0
ran=""
boards=""
durations=(--durations=15 --durations-min=20)
part() {  # part MARKS ARGUMENT...
    local marks=$1 returned=0
    shift
    .venv/bin/python -m pytest -m "$marks" "${durations[@]}" "$@" || returned=$?
    told "$returned"
}
shared() {  # shared MARKS: several processes of one thread each, file by file
    local processes
    processes=$(nproc)
    [ -n "$boards" ] || processes=$((processes + 1))  # some tests wait; what the gate waits for is the boards
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 part "$1" \
        --numprocesses=$((processes < 8 ? processes : 8)) --dist=loadfile --no-loadscope-reorder
}
told() {  # told STATUS of a part
    case $1 in
        0) ran=yes ;;
        1) ran=yes code=1 ;;
        5) ;;  # none of this part was asked for
        *) exit "$1" ;;
    esac
}

case ${1:-} in
    quick)
        shared "not (slow or alone or benchmark or lab)"
        part "alone and not (slow or benchmark or lab)"
        ;;
    all)
        if [ "${CI:-}" = true ] || [ -n "${DIME_LAB:-}" ]; then  # boards wait more than they work: beside the first part
            mkdir -p build
            # a shell starts what runs in the background deaf to Ctrl-C, which some of these tests send
            env --default-signal=INT,QUIT .venv/bin/python -m pytest -m lab "${durations[@]}" >build/lab.txt 2>&1 &
            boards=$!
        fi
        shared "not (alone or benchmark or lab)"
        if [ -n "$boards" ]; then
            returned=0
            wait "$boards" || returned=$?
            cat build/lab.txt
            told "$returned"
        else
            part "lab"  # says why it is skipped
        fi
        part "(alone or benchmark) and not lab"
        ;;
    *) sed -n '2,5s/^# //p' "$0" >&2; exit 2 ;;
esac
[ -n "$ran" ] || exit 5
exit $code
