# Sourced by the scripts: finds or makes the Python environment and sets PYTHON.
#
#   use_environment [EXTRA]
#
# EXTRA is serve or test, which holds what serve needs.
#
# An active environment that has the package is used as it is.  Otherwise .venv is made beside this checkout, once;
# a mark in it says for which requirements, so that an interrupted or outdated one is completed.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*" >&2; }

find_python() {
    local candidate
    for candidate in python3.13 python3.12 python3.11 python3 python; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    say "error: Python 3.11 or newer was not found; install it and run this again"
    return 1
}

# Runs pip quietly, with a line of elapsed time on a terminal; shows pip's output when it fails.
install() {
    local log started pid
    log=$(mktemp) started=$SECONDS
    "$PYTHON" -m pip install --disable-pip-version-check -c "$root/constraints.txt" -e "$1" >"$log" 2>&1 &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        [ -t 2 ] && printf '\r      %s s' "$((SECONDS - started))" >&2
        sleep 1
    done
    [ -t 2 ] && printf '\r' >&2
    if ! wait "$pid"; then
        say "error: the packages could not be installed; pip said:"
        tail -n 20 "$log" >&2
        return 1
    fi
    rm -f "$log"
    say "      done in $((SECONDS - started)) s"
}

use_environment() {
    local extra=${1:-} modules=vita_demo.cli mark python
    [ "$extra" = serve ] && modules=$modules,fastapi,uvicorn,prometheus_client
    # Asked away from the checkout, where the package is found only if it is installed.
    if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ "$extra" != test ] && (cd / && python -c "import $modules") 2>/dev/null; then
        PYTHON=python
        return
    fi
    PYTHON=$root/.venv/bin/python
    mark=$root/.venv/.ready-$(cat "$root/pyproject.toml" "$root/constraints.txt" | cksum | cut -d' ' -f1)
    [ -e "$mark-test" ] && return
    [ "$extra" != test ] && [ -e "$mark-serve" ] && return
    [ -z "$extra" ] && [ -e "$mark" ] && return
    if [ ! -x "$PYTHON" ]; then
        python=$(find_python) || return 1
        say "[1/2] making .venv with $("$python" --version)"
        "$python" -m venv "$root/.venv" || { say "error: .venv could not be made; on Debian install python3-venv"; return 1; }
    fi
    say "[2/2] installing packages into .venv, once; this takes a minute or two"
    install "$root${extra:+[$extra]}" || return 1
    touch "$mark"
    [ -z "$extra" ] || touch "$mark-$extra"
}
