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
export ESML_ESTATE="$clean/estate" PATH="$clean/venv/bin:$PATH"
mkdir "$ESML_ESTATE"  # an empty volume
port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
command=$(grep -oP '^CMD \K.*' "$here/Dockerfile" | python -c 'import json, sys; print(json.load(sys.stdin)[2])')
sh -c "${command//0.0.0.0/127.0.0.1} --port $port" &
served=$!
trap 'kill "$served" 2>/dev/null || true; rm -rf "$clean"' EXIT
for _ in $(seq 120); do
  kill -0 "$served" && sleep 0.5
  if python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/healthz', timeout=4)" 2>/dev/null; then break; fi
done
python -c "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:$port/healthz', timeout=4).read().decode())"
esml doctor
kill "$served"
wait "$served"
echo "the image's steps work"
