#!/usr/bin/env bash
# What a lent GPU machine without network lacks, packed into .gpu/a, .gpu/b and so on (ignored by git).
#
#   PIECES=2 tools/gpu/pack.sh
#
# The machine has Python 3.12, PyTorch, ONNX Runtime, cuda-bindings, nvcc and pytest (see docs/gpu-runs.md).
# Several folders, since one call takes 64 MiB: TensorRT-RTX's library is compressed and split over them, all
# else is in each. Needs pip, xz, and for the pycuda that is built here g++, CUDA's headers and a Python 3.12
# in PYTHON312 with numpy, setuptools and wheel; without it the machine builds its own from the sources.
set -euo pipefail
cd "$(dirname "$0")/../.."
rtx=1.7.1.116
pieces=${PIECES:-2}
work=${GPU_WORK:-/tmp/edgeecg-gpu}
mkdir -p "$work/wheels" "$work/small" .gpu

platforms=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
for n in 17 24 27 28 31 34 35 39; do platforms+=(--platform "manylinux_2_${n}_x86_64"); done
fetch() { python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp "${platforms[@]}" -d "$1" "${@:2}"; }
fetch "$work/wheels" "tensorrt-rtx-cu13-libs==$rtx"
fetch "$work/small" "tensorrt-rtx-cu13-bindings==$rtx" msgspec pytools siphash24 platformdirs mako
ls "$work"/small/tensorrt_rtx_cu13-*.whl >/dev/null 2>&1 ||
    python3 -m pip wheel -q --no-deps -w "$work/small" "tensorrt-rtx-cu13==$rtx"
ls "$work"/small/pycuda-*.tar.gz >/dev/null 2>&1 ||
    python3 -m pip download -q --no-deps --no-binary pycuda -d "$work/small" pycuda==2026.1

# the libraries: the large one by xz (twice as small as in the wheel), the rest as they are
(cd "$work" && unzip -oq wheels/tensorrt_rtx_cu13_libs-*.whl)
tar czf "$work/small/rtx-libs.tar.gz" -C "$work" --exclude libtensorrt_rtx.so.1 tensorrt_rtx_libs
[ -e "$work/rtx.so.xz" ] || xz -9e --keep --stdout "$work/tensorrt_rtx_libs/libtensorrt_rtx.so.1" >"$work/rtx.so.xz"
rm -f "$work"/rtx.so.xz.0? && split -d -n "$pieces" "$work/rtx.so.xz" "$work/rtx.so.xz."
echo "$pieces" >"$work/small/pieces"

if [ -n "${PYTHON312:-}" ] && ! ls "$work"/small/pycuda-*cp312*.whl >/dev/null 2>&1; then
    PYTHON=$PYTHON312 tools/gpu/pycuda.sh "$work/small/pycuda-2026.1.tar.gz" "$work/small"
fi
rm -rf .gpu/?
letters=abcdefgh
for ((i = 0; i < pieces; i++)); do
    folder=.gpu/${letters:i:1}
    mkdir "$folder"
    cp "$work"/small/* "$work/rtx.so.xz.0$i" "$folder"
done
du -sh .gpu/?
