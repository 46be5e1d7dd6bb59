#!/usr/bin/env bash
# Runs the whole GPU program in one call of under nine minutes: the tests that need a GPU, then every benchmark.
#
#     benchmarks/gpu.sh [--shape vita15] [--device cuda] [--dtype bfloat16] [PART...]
#
# The parts, all unless some are named, are tests, decode-1k, callbacks, decode-4k, stages, scaling, together, load and
# startup.
# Needs torch, transformers, click, rich and pytest; neither decord nor librosa.  Every part has its own limit of
# time; where one fails or has none left, the others go on, and the exit code is 1.  Into $OUT, by default
# ./benchmark-results, go results.jsonl, one line of JSON for each part, and log.txt, all tables and messages.
# PYTHON chooses the interpreter.  BUDGET_S, 525 by default, bounds the whole; TESTS names other test files.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

shape=vita15 device=cuda dtype=bfloat16
while (($#)); do
    case $1 in
        --shape) shape=${2:-} ;;
        --device) device=${2:-} ;;
        --dtype) dtype=${2:-} ;;
        -*) echo "gpu.sh: $1 is unknown; it takes --shape, --device and --dtype" >&2 && exit 2 ;;
        *) break ;;
    esac
    shift 2 || { echo "gpu.sh: $1 lacks its value" >&2 && exit 2; }
done

all="tests decode-1k callbacks decode-4k stages scaling together load startup"
wanted=" ${*:-$all} "
for name in $wanted; do
    [[ " $all " == *" $name "* ]] || { echo "gpu.sh: $name is no part; there are $all" >&2 && exit 2; }
done
PYTHON=${PYTHON:-python3}
OUT=${OUT:-benchmark-results}
budget_s=${BUDGET_S:-525}
results=$OUT/results.jsonl
failed=0
export PYTHONUNBUFFERED=1
mkdir -p "$OUT" && : >"$results" || exit 2

# part NAME LIMIT_S COMMAND...: where the last line that it prints is JSON, that is its result.
part() {
    local name=$1 limit_s=$2 start_s=$SECONDS code=0 last
    shift 2
    [[ $wanted == *" $name "* ]] || return 0
    ((limit_s > budget_s - SECONDS)) && limit_s=$((budget_s - SECONDS))
    if ((limit_s < 5)); then
        echo "== $name: no time left"
        printf '{"part": "%s", "exit": null}\n' "$name" >>"$results"
        failed=1
        return
    fi
    echo "== $name, at most $limit_s s: $*"
    timeout --kill-after=5 "$limit_s" "$@" >"$OUT/stdout.txt" || code=$?
    last=$(tail -n 1 "$OUT/stdout.txt")
    [[ $last == "{"* ]] || { cat "$OUT/stdout.txt" && last=null; }
    rm -f "$OUT/stdout.txt"
    ((code == 0)) || { echo "== $name failed with exit code $code" && failed=1; }
    printf '{"part": "%s", "exit": %d, "seconds": %d, "result": %s}\n' \
        "$name" "$code" "$((SECONDS - start_s))" "$last" >>"$results"
}

# measure NAME LIMIT_S MODULE OPTIONS...: one benchmark on the chosen shape.
measure() {
    local name=$1 limit_s=$2 module=$3
    shift 3
    part "$name" "$limit_s" "$PYTHON" -m "benchmarks.$module" --shape "$shape" --device "$device" --dtype "$dtype" "$@"
}

main() {
    local tests
    # Only these: others need libraries that read media.
    read -ra tests <<<"${TESTS:-$(grep -rlE --include='*.py' 'torch\.cuda\.is_available\(\)(,| else)' tests | sort | tr '\n' ' ')}"
    part tests 140 "$PYTHON" -m pytest -q -W default "${tests[@]:-tests/model/decode/test_cuda.py}"
    measure decode-1k 190 decode --positions 1024 --slow_tokens 32 --callbacks three
    measure callbacks 60 decode --positions 1024 --slow_tokens 32 --callbacks none,three,slow \
        --ways "native graph,native eager,transformers"
    measure decode-4k 90 decode --positions 4096 --slow_tokens 32 --callbacks three \
        --ways "native graph,native operations,steps alone,transformers"
    measure stages 70 stages
    measure scaling 60 scaling --kinds prompt
    measure together 60 together --positions 1024 --counts 1,8,32 --runs 3 --ways alone,together
    measure load 110 load --runs 1 --warm_ups 0
    part startup 60 "$PYTHON" -m benchmarks.startup --device "$device" --runs 1
    echo "== done after $SECONDS s: $results"
    return "$failed"
}

main 2>&1 | tee "$OUT/log.txt" >&2
exit "${PIPESTATUS[0]}"
