#!/bin/sh
# Make the environment in the folder $1 and install dockgate with its pinned dependencies into it.
# PYTHON, if set, is the interpreter to use; otherwise the first suitable one is.
set -eu

venv=$1
minimum="3.11"

fail() {
    echo "error: $1" >&2
    exit 1
}

# Asking the interpreter is the only safe test: a name on PATH may be a wrapper around nothing.
is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# Debian and Ubuntu ship these two modules in a package of their own.
has_venv() {
    "$1" -c 'import ensurepip, venv' >/dev/null 2>&1
}

choose() {
    without_venv=""
    # Those that the pins were tried with come first.
    for python in ${PYTHON:-python3.13 python3.12 python3.11 python3.14 python3 python}; do
        is_new_enough "$python" || continue
        if has_venv "$python"; then
            return
        fi
        without_venv="${without_venv:-$python}"
    done
    if [ -n "$without_venv" ]; then
        fail "$without_venv lacks the venv module; install it (on Debian and Ubuntu: apt install $without_venv-venv)"
    elif [ -n "${PYTHON:-}" ]; then
        fail "PYTHON=$PYTHON is not Python $minimum or newer ($("$PYTHON" --version 2>/dev/null || echo "cannot be run"))"
    else
        fail "dockgate needs Python $minimum or newer, found $(python3 --version 2>/dev/null || echo none)"
    fi
}

# An environment that still works is kept and only brought up to date.
if ! is_new_enough "$venv/bin/python" || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    choose
    rm -rf "$venv"
    "$python" -m venv "$venv" || fail "$python could not make an environment in $venv"
fi

echo "Installing dockgate and its dependencies into $venv (once; half a minute to a few minutes) …"
# What builds dockgate itself is installed in an environment of pip's own, which only hears of constraints this way
# (old and new name).
if ! PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'; then
    fail "the installation failed, pip says why above; \`make\` tries again"
fi
