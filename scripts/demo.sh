#!/usr/bin/env bash
# The main job on the embedded model: segments the bundled pictures by words on Jittor and compares them with the truth.
set -euo pipefail
source "$(dirname "$0")/setup.sh"
prepare "."
exec .venv/bin/python scripts/demo.py "$@"
