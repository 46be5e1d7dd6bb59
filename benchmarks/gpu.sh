#!/usr/bin/env bash
# Runs the first nine minutes on a GPU in one call: what may be wrong first, then what may be slow.
#
#     benchmarks/gpu.sh [--shape vita15] [--device cuda] [--dtype bfloat16] [PART...]
#     benchmarks/gpu.sh --shape tiny --device cpu --dtype float32     goes through every part without a GPU
#
# By default it runs self_test, lengths, prefill, tests, step, kernels, quantized, repeat, decode-1k, stages and
# quantized-tests; callbacks, decode-4k, scaling, together, load and startup are for a second call, by name.
# Needs torch, triton, transformers, click, rich, numpy and pytest.  Every part has its own limit of time; where one fails
# or has none left, the others go on, and the exit code is 1.  Into $OUT, by default ./benchmark-results, go
#     figures.jsonl   each figure as soon as it is measured, so that a part that is cut short loses none
#     results.jsonl   one line for each part: its exit code, its seconds, and the JSON that it ends with
#     log.txt         all tables and messages
# PYTHON chooses the interpreter.  BUDGET_S, 525 by default, bounds the whole.
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

first="self_test lengths prefill tests step kernels quantized repeat decode-1k stages quantized-tests"
second="callbacks decode-4k scaling together load startup"
wanted=" ${*:-$first} "
for name in $wanted; do
    [[ " $first $second " == *" $name "* ]] || {
        echo "gpu.sh: $name is no part; there are $first, and $second" >&2
        exit 2
    }
done
PYTHON=${PYTHON:-python3}
OUT=${OUT:-benchmark-results}
budget_s=${BUDGET_S:-525}
results=$OUT/results.jsonl
failed=0
mkdir -p "$OUT" && : >"$results" && : >"$OUT/figures.jsonl" || exit 2
FIGURES=$(realpath "$OUT/figures.jsonl")
export PYTHONUNBUFFERED=1 FIGURES

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
    # What a part says goes out at once; only its last line is kept back.
    timeout --kill-after=5 "$limit_s" "$@" | tee "$OUT/stdout.txt" | grep --line-buffered -v '^{'
    code=${PIPESTATUS[0]}
    last=$(tail -n 1 "$OUT/stdout.txt")
    [[ $last == "{"* ]] || last=null
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

# run_tests NAME LIMIT_S ARGUMENTS...: each test is named with its outcome, in case there is no end.
run_tests() {
    local name=$1 limit_s=$2
    shift 2
    part "$name" "$limit_s" "$PYTHON" -m pytest -v --tb=short --maxfail=6 -W default -p no:cacheprovider "$@"
}

run_first() {
    part self_test 60 "$PYTHON" -m vita_demo doctor --self_test --json \
        --shape "$shape" --device "$device" --dtype "$dtype"
    measure lengths 35 gpu_checks --parts lengths
    measure prefill 45 gpu_checks --parts prefill
    run_tests tests 85 tests/model/decode/test_cuda.py tests/model/decode/test_triton_kernels.py \
        -k "not whole_answer and not interpreter"
    measure step 25 gpu_checks --parts step
    measure kernels 30 gpu_checks --parts kernels
    measure quantized 30 gpu_checks --parts quantized
    measure repeat 20 gpu_checks --parts repeat
    measure decode-1k 90 decode --positions 1024 --tokens 128 --slow_tokens 32 --callbacks three --runs 3 \
        --ways "native graph,native operations,steps alone,matrices alone,native int8,native int4,transformers"
    measure stages 45 stages --runs 3
    run_tests quantized-tests 60 tests/model/quantize/test_cuda.py
}

run_second() {
    measure callbacks 60 decode --positions 1024 --slow_tokens 32 --callbacks none,three,slow \
        --ways "native graph,native eager,transformers"
    measure decode-4k 90 decode --positions 4096 --slow_tokens 32 --callbacks three \
        --ways "native graph,native operations,steps alone,transformers"
    measure scaling 60 scaling --kinds prompt
    measure together 60 together --positions 1024 --counts 1,8,32 --runs 3 --ways alone,together
    measure load 110 load --runs 1 --warm_ups 0
    part startup 60 "$PYTHON" -m benchmarks.startup --device "$device" --runs 1
}

main() {
    run_first
    run_second
    echo "== done after $SECONDS s: $results"
    return "$failed"
}

main 2>&1 | tee "$OUT/log.txt" >&2
exit "${PIPESTATUS[0]}"
