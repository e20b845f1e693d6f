#!/usr/bin/env bash
# Everything that only a GPU can tell, in one go: builds, runs the tests on the device, the kernels under compute-sanitizer, and the
# benches beside their peers. Needs nvcc, CMake, a C++ compiler and python3; nothing is fetched.
#   tools/gpu/check.sh [--quick] [--out folder] [--steps build,tests,sanitizer,bench,end-to-end]
# Node is taken from $HEDDLE_NODE, the PATH, or .gpu/node.tar.xz (tools/gpu/bundle.sh makes it on a machine that has Node); without it
# the steps that need it are left out and said. Results: <out>/results.json (default bench/results/<gpu>.json) and a table at the end.
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD

quick=
out=
steps=build,tests,sanitizer,bench,end-to-end
while [ $# -gt 0 ]; do
  case $1 in
    --quick) quick=--quick ;;
    --out) out=$2; shift ;;
    --steps) steps=$2; shift ;;
    *) echo "unknown argument $1" >&2; exit 2 ;;
  esac
  shift
done
out=${out:-$root/.gpu/out}
mkdir -p "$out"
tree=$root/.cmake/gpu
failed=()

wanted() { [[ ",$steps," == *",$1,"* ]]; }
step() { # name, seconds at most, command...
  local name=$1 limit=$2 start=$SECONDS
  shift 2
  echo "--- $name"
  if ! timeout -k 10 "$limit" "$@" >"$out/$name.log" 2>&1; then
    failed+=("$name")
    tail -n 25 "$out/$name.log"
    echo "--- $name FAILED"
  fi
  echo "--- $name took $((SECONDS - start)) s"
}

find_node() {
  node=${HEDDLE_NODE:-$(command -v node || true)}
  if [ -z "$node" ] && [ -f .gpu/node.tar.xz ]; then
    tar -xJf .gpu/node.tar.xz -C .gpu
    node=$root/.gpu/bundle/node
    [ -d node_modules ] || ln -s .gpu/bundle/node_modules node_modules
  fi
  [ -n "$node" ] && [ -d node_modules ]
}

build() {
  local headers=
  [ -d node_modules/node-api-headers ] && headers="-DCMAKE_JS_INC=$root/node_modules/node-api-headers/include;$root/node_modules/node-addon-api"
  local targets=(heddle_cuda grouped_lora_cuda_bench linear_cuda_bench)
  [ -n "$headers" ] && targets+=(heddle)
  cmake -S . -B "$tree" -DCMAKE_BUILD_TYPE=Release -DHEDDLE_CUDA=ON -DHEDDLE_BENCH=ON -DCMAKE_CUDA_ARCHITECTURES=native \
    -DCMAKE_LIBRARY_OUTPUT_DIRECTORY="$root/build/Release" ${headers:+"$headers"} &&
    cmake --build "$tree" --parallel "$(nproc)" --target "${targets[@]}"
}

vitest() { HEDDLE_TEST_DEVICES=cuda "$node" node_modules/vitest/vitest.mjs run "$@"; }
# Every process that vitest starts is watched; a kernel that breaks a rule fails its test file.
sanitized() { # tool, test files...
  local tool=$1
  shift
  HEDDLE_TEST_DEVICES=cuda compute-sanitizer --tool "$tool" --target-processes all --error-exitcode 9 --print-limit 20 \
    "$node" node_modules/vitest/vitest.mjs run --testTimeout 600000 "$@"
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee "$out/device.txt" || exit 1
wanted build && step build 900 build
if find_node; then
  wanted tests && step tests 1200 vitest test/kernels test/graph test/cuda
  if wanted sanitizer && command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck; do step "$tool" 1200 sanitized "$tool" test/kernels; done
  fi
else
  echo "no Node here: tests on the device, the sanitizer and the end-to-end bench are left out (tools/gpu/bundle.sh brings them)"
fi
if wanted bench; then
  bench=$tree/bench
  step grouped_lora 900 bash -c "'$bench/grouped_lora_cuda_bench' $quick | tee '$out/grouped_lora.jsonl'"
  step linear_own 600 bash -c "HEDDLE_CUBLASLT=off '$bench/linear_cuda_bench' | sed 's/\"side\": \"heddle\"/\"side\": \"heddle-own\"/' | tee '$out/linear_own.jsonl'"
  step linear 600 bash -c "'$bench/linear_cuda_bench' | tee '$out/linear.jsonl'"
  step peers 1200 bash -c "python3 bench/gpu/peers.py $quick | tee '$out/peers.jsonl'"
fi
if wanted end-to-end && [ -n "${node:-}" ] && [ -f bench/gpu/end_to_end.mjs ]; then
  step end_to_end 900 bash -c "'$node' bench/gpu/end_to_end.mjs | tee '$out/end_to_end.jsonl'"
fi
python3 tools/gpu/summary.py "$out"
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}"
  exit 1
fi
