#!/usr/bin/env bash
# All checks: lint, then every test on every backend, the slow ones too, in two processes. Arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/setup.sh"
prepare ".[test]"
export JITTOR_OVSEG_REQUIRED=${JITTOR_OVSEG_REQUIRED:-numpy,torch,jittor}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # threads that spin while they wait hold up the other process
.venv/bin/ruff check .
exec .venv/bin/python -m pytest -n 2 --dist worksteal -m "slow or not slow" "$@"
