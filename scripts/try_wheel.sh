#!/usr/bin/env bash
# Install a wheel into an empty environment, away from the sources, and use it as a stranger would.
#     TORCH="torch==2.13.0" PYTHON=python3.12 scripts/try_wheel.sh dist/sparring-0.2.0-py3-none-any.whl
set -euo pipefail
wheel=$(realpath "$1")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/env"
cd "$place"
unset PYTHONPATH
export PATH="$place/env/bin:$PATH"
pip install --quiet --disable-pip-version-check "${TORCH:-torch}" "$wheel"
python --version
python -c "import torch; print('torch', torch.__version__)"
sparring --version
pip check
sparring fit atlas --epochs 1 --folder run --quiet
sparring predict run --head Switzerland --relation "has the official language" -k 3
sparring audit run >/dev/null
python -c "
import sparring
predictor = sparring.load('run')
print(predictor.predict('Switzerland', 'has the official language', k=2, remove=()))
"
