#!/usr/bin/env bash
# Packs what a GPU machine without Node and without a network needs to run the tests: Node itself and the modules of this checkout.
#   tools/gpu/bundle.sh        writes .gpu/node.tar.xz; tools/gpu/check.sh unpacks it
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -d node_modules ] || { echo "run npm ci first" >&2; exit 1; }
rm -rf .gpu/bundle
mkdir -p .gpu/bundle
cp "$(node -p process.execPath)" .gpu/bundle/node
strip .gpu/bundle/node 2>/dev/null || true
# Not needed there: what formats, documents and builds packages.
tar -C . -cf - --exclude='*.map' --exclude='*.d.ts' --exclude='*.d.mts' --exclude='*.md' \
  --exclude='node_modules/@biomejs' --exclude='node_modules/typedoc' --exclude='node_modules/typescript' --exclude='node_modules/node-gyp' \
  --exclude='node_modules/prebuildify' --exclude='node_modules/@shikijs' --exclude='node_modules/.cache' node_modules | tar -C .gpu/bundle -xf -
XZ_OPT="-T0 -3" tar -C .gpu -cJf .gpu/node.tar.xz bundle
rm -rf .gpu/bundle
ls -l .gpu/node.tar.xz
