#!/bin/sh
# Run each target of the Makefile named on the command line, with a heading and the time it took. Goes on after a failure,
# so that one run shows everything that is wrong; ends with status 1 if any target failed.
set -u

failed=""
summary=""
newline="
"
for step in "$@"; do
    printf '\n==> %s\n' "$step"
    start=$(date +%s)
    if ${MAKE:-make} --no-print-directory "$step"; then
        result="ok"
    else
        result="FAILED"
        failed="$failed $step"
    fi
    seconds=$(($(date +%s) - start))
    printf '<== %s: %s after %d s\n' "$step" "$result" "$seconds"
    summary="$summary$(printf '  %-12s %-6s %4d s' "$step" "$result" "$seconds")$newline"
done

printf '\n%s' "$summary"
if [ -n "$failed" ]; then
    echo "failed:$failed" >&2
    exit 1
fi
