#!/usr/bin/env bash
# Build a wheel of pycuda from its sources, all files at once.
#
#   PYTHON=python3 tools/gpu/pycuda.sh pycuda-VERSION.tar.gz FOLDER
#
# libcuda comes with the driver: it is linked to where it is, or to a stub where there is no driver.
set -euo pipefail
python=${PYTHON:-python3}
out=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar xf "$1" -C "$work"

nvcc=$(command -v nvcc || ls -d /usr/local/cuda*/bin/nvcc)
root=$(dirname "$(dirname "$(realpath "${nvcc##*$'\n'}")")")
site=$("$python" -c 'import site; print(site.getsitepackages()[0])')
headers=
for folder in "$root/include" "$root"/targets/*/include /usr/local/cuda*/include "$site"/nvidia/*/include; do
    if [ -z "$headers" ] && [ -e "$folder/cuda.h" ]; then headers=$folder; fi
done
mkdir "$work/link"
driver=$(ldconfig -p | awk '/libcuda\.so\.1/ && !seen++ {print $NF}')
if [ -n "$driver" ]; then
    ln -s "$driver" "$work/link/libcuda.so"
else
    echo 'int none;' >"$work/link/none.c"
    gcc -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$work/link/libcuda.so" "$work/link/none.c"
fi
echo "pycuda: CUDA in $root, headers in $headers, driver ${driver:-not here}"
cd "$work"/pycuda-*/
"$python" configure.py --cuda-root="$root" --cuda-inc-dir="$headers" --cudadrv-lib-dir="$work/link" \
    --no-cuda-enable-curand
cat >parallel.py <<'P'
import os, sys
from concurrent.futures import ThreadPoolExecutor

import setuptools  # first: it brings distutils
from distutils.ccompiler import CCompiler


def compile_all(self, sources, output_dir=None, macros=None, include_dirs=None, debug=0,
                extra_preargs=None, extra_postargs=None, depends=None):
    macros, objects, extra, flags, todo = self._setup_compile(
        output_dir, macros, include_dirs, sources, depends, extra_postargs)
    options = self._get_cc_args(flags, debug, extra_preargs)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for done in [threads.submit(self._compile, name, *todo[name], options, extra, flags)
                     for name in objects if name in todo]:
            done.result()
    return objects


CCompiler.compile = compile_all
sys.argv[0] = "setup.py"
exec(compile(open("setup.py").read(), "setup.py", "exec"), {"__name__": "__main__"})
P
# a stub has no symbols, and what is needed of it would be forgotten
CFLAGS="-O1 -w" LDFLAGS="-Wl,--no-as-needed" "$python" parallel.py -q bdist_wheel -d "$out"
