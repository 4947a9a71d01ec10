#!/bin/sh
# Builds llama.cpp's benches from the source inside the PyPI package llama-cpp-python, in a folder outside the repository.
# usage: build_llama_cpp.sh FOLDER [jobs]
set -eu

folder=${1:?usage: build_llama_cpp.sh FOLDER [jobs]}
jobs=${2:-$(nproc)}
targets="llama-bench llama-batched-bench llama-quantize llama-server"
mkdir -p "$folder"
cd "$folder"

native="-DGGML_NATIVE=ON"
compiler=${CXX:-c++}
if grep -qs amx_int8 /proc/cpuinfo; then
    if [ "${GGML_AMX:-on}" = off ]; then
        # Everything that such a CPU has, but AMX.
        native="-DGGML_NATIVE=OFF -DGGML_AVX512=ON -DGGML_AVX512_VBMI=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_BF16=ON"
    elif ! "$compiler" --version | grep -qi clang && [ "$("$compiler" -dumpversion | cut -d. -f1)" -le 12 ]; then
        echo "This CPU has AMX, and GCC 12 compiles it wrongly: set CC=clang CXX=clang++, or GGML_AMX=off (see README.md)." >&2
        exit 1
    fi
fi

if ! ls -d llama_cpp_python-*/vendor/llama.cpp >/dev/null 2>&1; then
    python3 -m venv env
    env/bin/pip install --quiet scikit-build-core flit_core pathspec packaging
    env/bin/pip download --quiet --no-binary :all: --no-deps --no-build-isolation llama-cpp-python
    tar xf llama_cpp_python-*.tar.gz
fi
source=$(ls -d llama_cpp_python-*/vendor/llama.cpp | tail -1)

# $native and $targets are lists of words.
# shellcheck disable=SC2086
cmake -S "$source" -B build -G Ninja -DCMAKE_BUILD_TYPE=Release $native -DBUILD_SHARED_LIBS=OFF \
    -DLLAMA_CURL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_UI=OFF
# shellcheck disable=SC2086
ninja -C build -j "$jobs" $targets
echo "built in $(pwd)/build/bin, from $source"
