#!/usr/bin/env bash
# Installs what is missing, runs every test, and ends with one line that says how it went. Arguments go to cargo test.
# One line for each test file, and what failed; everything that was said is in target/test.log.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
tests/install.sh || exit 1

log=target/test.log
mkdir -p target
cargo test --no-fail-fast "$@" 2>&1 | tee "$log" | awk '
    /^ +Running / { file = $0; sub(/^ +Running (unittests )?/, "", file); sub(/ \(.*/, "", file) }
    /^ +Doc-tests / { file = "documentation" }
    /^failures:$/ { is_told = 1 }
    /^test result:/ {
        is_told = 0
        if ($4 + $6 > 0) printf "%-28s %4d passed, %d failed, %s\n", file, $4, $6, $NF
    }
    is_told || /^error/
    { fflush() }'
status=${PIPESTATUS[0]}

read -r passed failed < <(awk '/^test result:/ { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }' "$log")
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    tail -n 60 "$log"
    echo "tests/run.sh: cargo test ended with status $status before all tests had run" >&2
fi
echo "$passed passed, $failed failed"
exit "$status"
