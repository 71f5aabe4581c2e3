#!/usr/bin/env bash
# Tests the dashboard in a real Chromium: run.sh [test file ...]. Needs Go, Node
# from 20.11 on, and Chromium, whose program CHROMIUM may name.
set -euo pipefail
cd "$(dirname "$0")"
CHROMIUM=${CHROMIUM:-$(command -v chromium || command -v chromium-browser)} || { echo "install chromium"; exit 1; }
export CHROMIUM
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || a === 20 && b >= 11 ? 0 : 1)' ||
  { echo "install Node 20.11 or later; $(node --version) cannot run these tests"; exit 1; }
[ -d node_modules ] || npm ci --no-audit --no-fund

programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
go build -o "$programs/fixture" ./fixture
go build -o "$programs/demo" ../../examples/demo
export STINT_FIXTURE=$programs/fixture STINT_DEMO=$programs/demo

# Two files at a time: the browser waits for the program, and that for the disk.
[ $# -gt 0 ] || set -- *.test.mjs
node --test --test-concurrency=2 --test-timeout=300000 --test-reporter="${REPORTER:-dot}" "$@"
