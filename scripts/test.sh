#!/usr/bin/env bash
# All checks: lint, then every test on every backend, the slow ones too. Arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/setup.sh"
prepare ".[test]"
export JITTOR_OVSEG_REQUIRED=${JITTOR_OVSEG_REQUIRED:-numpy,torch,jittor}
.venv/bin/ruff check .
exec .venv/bin/python -m pytest -m "slow or not slow" "$@"
