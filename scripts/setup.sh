# Sourced by demo.sh and test.sh: `prepare WHAT` makes .venv and installs WHAT ("." or ".[test]") into it, once.

fail() { echo "error: $*" >&2; exit 2; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.10}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.10, 3.11 or 3.12 is needed: install one, or name it in PYTHON"
}

prepare() {
    local what=$1 python stamp
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    stamp=".venv/.installed-$(printf '%s' "$what" | cat - setup.py | sha256sum | cut -c1-16)"
    [ -e "$stamp" ] && return
    command -v g++ >/dev/null || fail "g++ is needed, Jittor compiles with it: on Debian or Ubuntu, apt install g++"
    python=$(find_python) || exit 2
    echo "Setting up .venv (several GB with PyTorch; a few minutes, once) ..."
    "$python" -m venv .venv || fail "cannot make .venv: on Debian or Ubuntu, apt install python3-venv"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable "$what" ||
        fail "the installation failed, see above; run the same command again to go on"
    touch "$stamp"
}
