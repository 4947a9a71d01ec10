#!/bin/sh
# Builds whisper.cpp from the source inside the crate whisper-rs-sys, and whisper_cpp.cpp against it, in a folder outside the repository.
# usage: build_whisper_cpp.sh FOLDER [jobs]
set -eu

folder=${1:?usage: build_whisper_cpp.sh FOLDER [jobs]}
jobs=${2:-$(nproc)}
here=$(cd "$(dirname "$0")" && pwd)
version=0.15.0
compiler=${CXX:-c++}
is_old_gcc() {
    ! "$compiler" --version | grep -qi clang && [ "$("$compiler" -dumpversion | cut -d. -f1)" -le 12 ]
}
if grep -qs amx_int8 /proc/cpuinfo && is_old_gcc; then
    echo "This CPU has AMX, and GCC 12 compiles it wrongly: set CC=clang CXX=clang++ (see README.md)." >&2
    exit 1
fi
mkdir -p "$folder"
cd "$folder"

if [ ! -d vendor/whisper-rs-sys ]; then
    # A package that is never built: Cargo unpacks what it names.
    mkdir -p src
    : >src/lib.rs
    cat >Cargo.toml <<END
[package]
name = "source"
version = "0.0.0"
edition = "2021"
[dependencies]
whisper-rs-sys = "=$version"
[workspace]
END
    cargo vendor --quiet vendor >/dev/null
fi
source=vendor/whisper-rs-sys/whisper.cpp

cat >CMakeLists.txt <<END
cmake_minimum_required(VERSION 3.14)
project(lines C CXX)
add_subdirectory($source whisper)
add_executable(whisper_lines "$here/whisper_cpp.cpp")
target_link_libraries(whisper_lines whisper)
END
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DGGML_LLAMAFILE="${GGML_LLAMAFILE:-OFF}" \
    -DBUILD_SHARED_LIBS=OFF -DWHISPER_BUILD_EXAMPLES=OFF -DWHISPER_BUILD_TESTS=OFF -DWHISPER_BUILD_SERVER=OFF
ninja -C build -j "$jobs" whisper_lines
echo "built $(find "$(pwd)/build" -name whisper_lines -type f), from $source"
