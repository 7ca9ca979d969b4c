#!/usr/bin/env bash
# Writes the sources of the binding: generate.sh <swift|kotlin|python> <folder>
#
# They are read from the built library, of the dev profile: they do not depend on it. For Python the library is put
# beside them, where they look for it. CARGO, CARGO_TARGET_DIR and LOCKED are as in the Makefile.
set -euo pipefail

if [[ $# -ne 2 || ! $1 =~ ^(swift|kotlin|python)$ ]]; then
  echo "usage: $0 <swift|kotlin|python> <folder>" >&2
  exit 2
fi
language=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)

case $(uname -s) in
  Darwin) library=libodin_client_ffi.dylib ;;
  *) library=libodin_client_ffi.so ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
target=${CARGO_TARGET_DIR:-target}
# shellcheck disable=SC2086
"${CARGO:-cargo}" build --quiet ${LOCKED:-} -p odin-client-ffi --features cli
"$target/debug/uniffi-bindgen" generate --no-format --language "$language" --out-dir "$folder" "$target/debug/$library"
if [[ $language == python ]]; then
  cp "$target/debug/$library" "$folder/"
fi
