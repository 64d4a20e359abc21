#!/usr/bin/env bash
# Everything that is to be learnt on a lent GPU, in one call; see docs/gpu-runs.md.
#
#   SECONDS_LEFT=200 OUT=/tmp/out bash tools/gpu/run.sh .gpu/b
#
# Each step has a time limit and stops none of the others. Logs go to $OUT, a summary is printed last.
set -uo pipefail
limit=${SECONDS_LEFT:-200}
out=${OUT:-/tmp/gpu-out}
carried=${1:-/nowhere}
mkdir -p "$out" /tmp/gpu
touch tests/__init__.py tools/__init__.py # or a package of that name on the machine would hide ours
export PYTHONPATH="$PWD:/tmp/site" PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export EDGEECG_CACHE=/tmp/gpu/plans OMP_NUM_THREADS=4 TORCHINDUCTOR_CACHE_DIR=/tmp/gpu/inductor
export COLUMNS=120 HYPOTHESIS_STORAGE_DIRECTORY=/tmp/gpu/hypothesis
mkdir -p -m 700 /tmp/gpu/plans
summary=/tmp/gpu/summary
: >"$summary"

# step NAME LIMIT LOG COMMAND: run it within its limit and what is left of the whole
step() {
    local name=$1 most=$2 log=$out/$3 begin=$SECONDS left=$((limit - SECONDS)) code
    shift 3
    if [ "$left" -lt 4 ]; then
        printf '%-34s not run: no time left\n' "$name" >>"$summary"
        return
    fi
    [ "$most" -gt "$left" ] && most=$left
    printf '\n==== %s: %s\n' "$name" "$*" >>"$log"
    timeout -k 3 "$most" "$@" >>"$log" 2>&1
    code=$?
    printf '%-34s exit %s, %s s (at %s s)\n' "$name" "$code" $((SECONDS - begin)) "$SECONDS" >>"$summary"
}
verb() { echo python3 -m tools.gpu.standin "$@"; }

step "prepare" 60 run.log bash tools/gpu/prepare.sh "$carried"
if [ -e /tmp/site-source ]; then PYTHONPATH+=:/tmp/site-source; else PYTHONPATH+=:/tmp/site-pycuda; fi
step "versions" 30 run.log bash -c 'nvidia-smi; nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,temperature.gpu,power.draw,pstate --format=csv; nvcc --version | tail -2; uname -a; lscpu | grep -E "Model name|^CPU\(s\)"; python3 -m pip list 2>/dev/null | grep -iE "^(torch|triton|numpy|onnx|onnxruntime|cuda|nvidia-ml|pytest|hypothesis|rich|typer|scipy) |^cuda"; ls /tmp/site | grep dist-info; python3 -c "import pycuda; from pycuda import driver; print(\"pycuda\", pycuda.VERSION_TEXT, driver.__file__ if hasattr(driver, \"__file__\") else \"\", driver.get_version())"'

# the compilers of torch.compile work beside what is not timed
(timeout 75 $(verb benchmarks/engines.py --gpu --rounds 1 --seconds 0.01 --batches 1 --precisions) \
    >"/tmp/gpu/warm.log" 2>&1) &
warm=$!

step "does TensorRT-RTX take it" 75 run.log python3 -m tools.gpu.probe
EDGEECG_GPU=$(sed -n 's/^mode: //p' "$out/run.log" | tail -1)
export EDGEECG_GPU=${EDGEECG_GPU:-stand-in}
echo "mode: $EDGEECG_GPU; pycuda from ${PYTHONPATH##*:}; $(tail -1 /tmp/gpu/pycuda.log | cut -c1-100)" >>"$summary"

pytest=(python3 -m pytest -p tools.gpu.standin -p no:cacheprovider -v -rfEs --timeout 60 -W default)
leak_test=tests/runtime/trt/test_gpu.py::test_opening_again_and_again_leaks_nothing
tail_test=tests/runtime/trt/test_gpu.py::test_the_tail_is_short
tests=(-n 6 -m gpu tests/runtime tests/contract tests/deploy --deselect "$tail_test")
# PyTorch's allocator keeps a pool for every stream that there ever was: with the stand-in that is a leak
[ "$EDGEECG_GPU" = stand-in ] && tests+=(--deselect "$leak_test")
EDGEECG_CUDA=pycuda step "gpu tests, pycuda" 75 tests.log "${pytest[@]}" "${tests[@]}" &
one=$!
sleep 0.2
EDGEECG_CUDA=cuda-python step "gpu tests, cuda-python" 75 tests-cuda-python.log "${pytest[@]}" "${tests[@]}" &
two=$!
wait $one $two
for policy in cpu raise rebuild; do
    [ "$policy $EDGEECG_GPU" = "rebuild stand-in" ] && continue # a reset takes PyTorch's kernels along
    step "lost context, policy $policy" 20 run.log python3 -m tools.gpu.lost "$policy"
done
wait $warm

# from here on nothing runs beside what is timed
step "seam, pycuda" 25 seam.log python3 -m tools.gpu.seam pycuda
step "seam, cuda-python" 25 seam.log python3 -m tools.gpu.seam cuda-python
precisions=fp32
[ "$EDGEECG_GPU" != stand-in ] && precisions="fp32 fp16 int8"
# shellcheck disable=SC2086
step "engines, batch 1" 45 engines.log $(verb benchmarks/engines.py --gpu --no-compile --rounds 3 --seconds 0.15 --batches 1 --precisions $precisions --out $out/one)
# by itself: torch.compile empties PyTorch's pools, in which the graphs of the stand-in keep what they compute
step "torch.compile, batch 1" 45 engines.log $(verb benchmarks/engines.py --gpu --rounds 3 --seconds 0.15 --batches 1 --precisions)
step "the tail is short" 20 tests.log "${pytest[@]}" -m gpu $tail_test
step "profile" 40 profile.log $(verb profile --backend tensorrt --runs 300 --pace-seconds 3 --energy-seconds 2 --batches 1,8,64 --json $out/profile.json)
# shellcheck disable=SC2086
step "engines, steps, more rows" 45 engines.log $(verb benchmarks/engines.py --gpu --no-compile --rounds 2 --seconds 0.1 --kinds step --batches 8 64 256 --precisions $precisions --out $out/more)
step "build auto" 50 profile.log $(verb build small -o /tmp/gpu/auto.edgeecg -p auto --backend tensorrt)
step "doctor as it is" 30 run.log python3 -c "from edgeecg.cli.main import run; run()" doctor
step "doctor" 25 run.log $(verb doctor)
step "auto, as it is" 30 run.log python3 -c 'import logging, edgeecg; logging.basicConfig(); print(edgeecg.open_engine("small").backend)'
# shellcheck disable=SC2086
step "engines, windows, more rows" 40 engines.log $(verb benchmarks/engines.py --gpu --no-compile --rounds 2 --seconds 0.1 --kinds window --batches 8 64 --precisions $precisions)
step "profile of the CPU" 25 profile.log $(verb profile --backend onnxruntime --runs 200 --pace-seconds 0 --energy-seconds 0 --batches 1,8,64)

mv "$out"/one/engines.json "$out/engines-1.json" 2>/dev/null
mv "$out"/more/engines.json "$out/engines-more.json" 2>/dev/null
rm -rf "$out"/one "$out"/more
cat "$out/tests-cuda-python.log" >>"$out/tests.log" && rm -f "$out/tests-cuda-python.log"
gzip -9f "$out/tests.log" 2>/dev/null
echo "---- tests"
zcat "$out/tests.log.gz" | grep -E "^(FAILED|ERROR|====)|passed|failed" | cut -c1-200 | tail -40
echo "lines: $(zcat "$out/tests.log.gz" | grep -oE "^\[gw[0-9]+\].* (PASSED|FAILED|ERROR|SKIPPED)" | awk '{print $NF}' | sort | uniq -c | tr '\n' ' ')"
echo "---- probe"
grep -E "^(target|mode|edgeecg|  ERROR|  WARN|  it runs|.*Error)" "$out/run.log" | cut -c1-250 | tail -30
echo "---- seam"
cut -c1-120 "$out/seam.log" | tail -80
echo "---- engines"
grep -vE "ready after" "$out/engines.log" | cut -c1-120 | tail -75
echo "---- pycuda from its sources: $(tail -1 /tmp/gpu/pycuda.log | cut -c1-200)"
echo "---- summary ($SECONDS s)"
cat "$summary"
