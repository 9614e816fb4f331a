#!/usr/bin/env bash
# Test the adapters inside each host library, in an environment of its own under .cache/hosts.
#
#   scripts/test_hosts.sh                    all of them
#   scripts/test_hosts.sh pykeen torchkge    some of them
#   INSTALL_ONLY=1 scripts/test_hosts.sh     environments only
#   INSTALL_LIMIT=300 scripts/test_hosts.sh  seconds after which one counts as not installable
#
# A library that cannot be installed is left out, and the last lines say so; a test that fails
# fails. LibKGE is in no package index: LIBKGE is what `git clone` gets its source from.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 GIT_TERMINAL_PROMPT=0
torch=${TORCH:-torch==2.13.0}
source=${LIBKGE:-https://github.com/uma-pi1/kge}
commit=9bca31fefbfc41d48fdc03396acd0cf42eee9dc4
declare -A packages=(
    [pykeen]="pykeen==1.11.1"
    [pyg]="torch_geometric==2.8.1"
    [torchkge]="torchkge==0.17.7"
    # what LibKGE's setup.py asks for; later ax-platform has lost what it imports
    [libkge]="numba pandas pyyaml path torchviz sqlalchemy<2 igraph hpbandster ax-platform==0.4.3"
)
read -ra hosts <<<"${*:-pykeen pyg torchkge libkge}"

install() {
    local place=.cache/hosts/$1 python=.cache/hosts/$1/bin/python
    if [ -e "$place/ready" ]; then return; fi
    ${PYTHON:-python3} -m venv "$place"
    if [ "$1" = libkge ] && [ ! -e "$place/source/kge" ]; then
        timeout 100 git clone --quiet "$source" "$place/source"
        git -C "$place/source" checkout --quiet $commit
    fi
    "$python" -m pip install --quiet --no-compile "$torch"
    # shellcheck disable=SC2086
    "$python" -m pip install --quiet --no-compile ${packages[$1]}
    "$python" -m pip install --quiet --no-compile --editable . pytest hypothesis beartype
    if [ "$1" = libkge ]; then
        echo "$PWD/$place/source" >"$("$python" -c 'import site; print(site.getsitepackages()[0])')/kge.pth"
    fi
    touch "$place/ready"
}

mkdir -p .cache/hosts
if [ "${1:-}" = --install ]; then
    install "$2" # by itself, so that the first thing that fails ends it
    exit
fi
for name in "${hosts[@]}"; do
    if [ -z "${packages[$name]:-}" ]; then
        echo "no library $name; there are ${!packages[*]}" && exit 2
    fi
    timeout "${INSTALL_LIMIT:-600}" "$0" --install "$name" &>".cache/hosts/$name.log" &
done
wait

left_out=() failed=()
for name in "${hosts[@]}"; do
    if [ ! -e ".cache/hosts/$name/ready" ]; then
        left_out+=("$name: left out, it could not be installed: $(tail -n 1 ".cache/hosts/$name.log")")
    elif [ -z "${INSTALL_ONLY:-}" ]; then
        echo "$name:"
        ".cache/hosts/$name/bin/python" -m pytest -q tests/integrations || failed+=("$name: tests failed")
    fi
done
for words in ${left_out[@]+"${left_out[@]}"} ${failed[@]+"${failed[@]}"}; do echo "$words"; done
[ ${#failed[@]} = 0 ]
