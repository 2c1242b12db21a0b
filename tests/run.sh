#!/usr/bin/env bash
# Installs what is missing, runs every test, and ends with one line that says how it went. Arguments go to cargo test.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
tests/install.sh || exit 1

log=$(mktemp)
trap 'rm -f "$log"' EXIT
cargo test --quiet --no-fail-fast "$@" 2>&1 | tee "$log" | sed -u '/^$/d; /^running 0 tests$/d; /0 passed; 0 failed; 0 ignored/d'
status=${PIPESTATUS[0]}

read -r passed failed < <(awk '/^test result:/ { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }' "$log")
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    echo "tests/run.sh: cargo test ended with status $status before all tests had run" >&2
fi
echo "$passed passed, $failed failed"
exit "$status"
