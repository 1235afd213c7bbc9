#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A step against RTNeural (C++, sizes fixed at compile time), both built here, in one process.
#
#   RTNEURAL=path/to/RTNeural benchmarks/rtneural/run.sh        needs g++ and Eigen 3
#
# RTNeural is built for any x86-64, for this very CPU, and for it with -ffast-math; the C core as
# setup.py builds it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
core=$here/../../csrc
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
eigen=${EIGEN:-/usr/include/eigen3}

flags="-std=gnu11 -O3 -ffp-contract=off -I$core -DFL_BUILD_GENERIC_FMA -DFL_BUILD_AVX2 -DFL_BUILD_AVX512"
find "$core" -name "*.c" | while read -r source; do
    case $(basename "$source") in
    kernels_avx512.c) isa="-mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mfma" ;;
    kernels_avx2.c) isa="-mavx2 -mfma -mf16c" ;;
    kernels_generic_fma.c) isa="-mfma" ;;
    kernels_neon.c | int8_*.c) continue ;;
    *) isa="" ;;
    esac
    gcc $flags $isa -c "$source" -o "$out/$(basename "$source" .c).o"
done
for math in "" "-march=native" "-march=native -ffast-math"; do
    g++ -std=c++17 -O3 $math -w -DRTNEURAL_USE_EIGEN=1 -DEIGEN_STACK_ALLOCATION_LIMIT=0 -DRTNEURAL_DEFAULT_ALIGNMENT=32 \
 -I"$core" -I"${RTNEURAL:?where RTNeural is}" -I"$eigen" \
        "$here/step.cpp" "$out"/*.o -lm -lpthread -o "$out/step"
    echo "RTNeural at -O3 $math"
    "$out/step"
done
