#!/usr/bin/env bash
# Installs what is missing, runs every test, and ends with one line that says how it went. Arguments go to cargo test.
# A line for each binary of tests with what its modules passed, and what failed; everything that was said is in target/test.log.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
tests/install.sh || exit 1

log=target/test.log
mkdir -p target
cargo test --no-fail-fast "$@" 2>&1 | tee "$log" | awk '
    function begin(name) { file = name; count = 0; split("", passed); split("", failed) }
    # "test page::demo ... ok" counts for the module page; a test outside of modules counts for none.
    function told(test, is_ok,    module) {
        module = test ~ /::/ ? test : "-"
        sub(/::.*/, "", module)
        if (!(module in passed)) { order[++count] = module; passed[module] = failed[module] = 0 }
        is_ok ? passed[module]++ : failed[module]++
    }
    function modules(    line, at, word) {
        line = "   "
        for (at = 1; at <= count; at++) {
            word = " " order[at] " " passed[order[at]] (failed[order[at]] ? " (" failed[order[at]] " FAILED)" : "")
            if (length(line word) > 118) { print line; line = "   " }
            line = line word
        }
        print line
    }
    /^ +Running / { name = $0; sub(/^ +Running (unittests )?/, "", name); sub(/ \(.*/, "", name); begin(name) }
    /^ +Doc-tests / { begin("documentation") }
    /^test .* \.\.\. (ok|FAILED)$/ { told($2, $NF == "ok") }
    /^failures:$/ { is_told = 1 }
    /^test result:/ {
        is_told = 0
        if ($4 + $6 > 0) printf "%-28s %4d passed, %d failed, %s\n", file, $4, $6, $NF
        if (count > 1) modules()
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
