#!/usr/bin/env bash
# The Dockerfile's own steps without a Docker engine: what it copies into a clean folder, what it installs into a clean
# environment, then the command that it starts. `make image`.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
clean=$(mktemp -d)
trap 'rm -rf "$clean"' EXIT
mkdir "$clean/app"
cd "$here"
grep -E '^COPY ' Dockerfile | while read -r _ line; do
  target=${line##* }
  for source in ${line% *}; do
    if [ -d "$source" ]; then mkdir -p "$clean/app/$target" && git ls-files "$source" | tar -cT - | tar -xC "$clean/app"; else cp "$source" "$clean/app/$target"; fi
  done
done
python3 -m venv "$clean/venv"
"$clean/venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
cd "$clean/app"
arguments=$(grep -oP '^RUN pip install --no-cache-dir \K.*' Dockerfile 2>/dev/null || grep -oP '^RUN pip install --no-cache-dir \K.*' "$here/Dockerfile")
# shellcheck disable=SC2086
VIRTUAL_ENV="$clean/venv" "$clean/venv/bin/uv" pip install --quiet $arguments
"$clean/venv/bin/esml" init "$clean/estate" --environments dev
ESML_ESTATE="$clean/estate" "$clean/venv/bin/esml" doctor
"$clean/venv/bin/python" -c 'import cockpit.server'
echo "the image's steps work"
