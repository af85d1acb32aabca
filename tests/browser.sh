#!/usr/bin/env bash
# A browser for the tests: an installed Chromium, else Playwright's own, else Debian's package when root.
set -u
for name in chromium chromium-browser google-chrome google-chrome-stable; do
  command -v "$name" >/dev/null && exit 0
done
if "$1/python" -m playwright install chromium >/dev/null 2>&1; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  { apt-get update && apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1 && exit 0
fi
echo "no browser could be installed: tests that need one are skipped (apt-get install chromium)"
exit 0
