#!/usr/bin/env bash
# Test the adapters inside each host library, in an environment of its own under .cache/hosts.
#
#   scripts/test_hosts.sh                    all of them
#   scripts/test_hosts.sh pykeen torchkge    some of them
#   INSTALL_ONLY=1 scripts/test_hosts.sh     environments only
#
# LibKGE is in no package index: LIBKGE names a folder with its source, else it is left out.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1
torch=${TORCH:-torch==2.13.0}
declare -A packages=(
    [pykeen]="pykeen==1.11.1"
    [pyg]="torch_geometric==2.8.1"
    [torchkge]="torchkge==0.17.7"
    [libkge]="numba pandas pyyaml path torchviz sqlalchemy<2 igraph"
)

for host in "${@:-pykeen pyg torchkge libkge}"; do for name in $host; do
    place=.cache/hosts/$name
    if [ "$name" = libkge ] && [ -z "${LIBKGE:-}" ]; then
        echo "libkge: left out, since LIBKGE names no folder with its source"
        continue
    fi
    if [ ! -e "$place/ready" ]; then
        ${PYTHON:-python3} -m venv "$place"
        "$place/bin/python" -m pip install --quiet "$torch"
        # shellcheck disable=SC2086
        "$place/bin/python" -m pip install --quiet ${packages[$name]}
        "$place/bin/python" -m pip install --quiet --editable . pytest hypothesis beartype
        touch "$place/ready"
    fi
    if [ -z "${INSTALL_ONLY:-}" ]; then
        echo "$name:"
        PYTHONPATH=${LIBKGE:-} "$place/bin/python" -m pytest -q tests/hosts
    fi
done; done
