#!/usr/bin/env bash
# On the lent machine: keep what a call carried under /tmp/gpu, and install it to /tmp/site.
#
#   bash tools/gpu/prepare.sh .gpu/a
#
# May run again and side by side: what is done stays done, and a second run waits for the first.
set -uo pipefail
mkdir -p /tmp/gpu /tmp/site /tmp/site-pycuda
cp -n "${1:-/nowhere}"/* /tmp/gpu/ 2>/dev/null
exec 9>/tmp/gpu/.lock
flock 9
log() { echo "[$(date +%T)] $*"; }
pip=(python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade)
cd /tmp/gpu || exit 1

if [ ! -e .site ]; then
    wheels=$(ls ./*.whl | grep -v pycuda)
    # shellcheck disable=SC2086
    "${pip[@]}" --target /tmp/site $wheels 2>&1 | tail -3
    for wheel in ./pycuda-*cp312*.whl; do
        if [ -e "$wheel" ]; then "${pip[@]}" --target /tmp/site-pycuda "$wheel" 2>&1 | tail -3; fi
    done
    tar xzf rtx-libs.tar.gz -C /tmp/site
    touch .site
    log "installed to /tmp/site: $(ls /tmp/site | grep -v dist-info | tr '\n' ' ')"
fi
if [ ! -e .rtx ] && [ "$(ls rtx.so.xz.0? 2>/dev/null | wc -l)" = "$(cat pieces)" ]; then
    target=/tmp/site/tensorrt_rtx_libs/libtensorrt_rtx.so.1
    if command -v xz >/dev/null; then
        cat rtx.so.xz.0? | xz -dc >"$target"
    else
        cat rtx.so.xz.0? | python3 -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.stdin.buffer), sys.stdout.buffer, 1 << 22)' >"$target"
    fi
    touch .rtx
    log "TensorRT-RTX's library: $(stat -c %s "$target") bytes"
fi
if [ ! -e .pycuda ] && [ -e pycuda-2026.1.tar.gz ]; then
    touch .pycuda
    # in the background, for minutes: until it is there, the one that was built elsewhere serves
    setsid nohup bash -c 'begin=$SECONDS; mkdir -p built
        timeout 300 bash "$0/tools/gpu/pycuda.sh" pycuda-2026.1.tar.gz built || exit
        python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target /tmp/site-source.new built/*.whl
        mv /tmp/site-source.new /tmp/site-source
        echo "pycuda built from its sources in $((SECONDS - begin)) s"' "$OLDPWD" >pycuda.log 2>&1 9>&- </dev/null &
fi
log "prepared"
