#!/usr/bin/env bash
# Makes constraints/*.txt again: the newest releases that fit together, for each Python. Needs uv on PATH.
# Run the tests afterwards, and say in CONTRIBUTING.md what they ran with.
set -euo pipefail
cd "$(dirname "$0")/.."

torch=2.13.0 # the newest whose CPU build the tests have run with
for version in 3.10 3.11 3.12 3.13; do
    target=constraints/py${version/./}.txt
    {
        echo "# Python $version: the newest releases that fit together. Made by tools/constraints.sh."
        uv pip compile pyproject.toml --quiet --python-version "$version" --no-header --no-annotate \
            --extra dev \
            --constraint <(echo "torch==$torch") |
            grep -vE '^(nvidia-cu|nvidia-n|triton|#)' # torch's CUDA build only
    } >"$target.new"
    mv "$target.new" "$target"
done
