#!/usr/bin/env bash
# libraries.sh TOOLCHAIN PREFIX: zlib and libzip from Debian's sources for the processor of a toolchain file, static, into
# PREFIX. The lists of apt stay as they are: the sources have lists of their own.
set -euo pipefail
. "$(dirname "$0")/apt.sh"
toolchain="$(realpath "$1")"
prefix="$(realpath -m "$2")"
cmake="${CMAKE:-cmake}"
if [ -e "$prefix/lib/libzip.a" ]; then exit 0; fi

work="$prefix/build"
mkdir -p "$work"
cd "$work"
private_apt "$work" "$debian_sources"
"${apt[@]}" source --download-only zlib libzip
mkdir -p zlib/win32 libzip
: > zlib/win32/zlib1.rc  # Debian leaves it out, CMake wants to see it
tar -xf zlib_*.orig.tar.* -C zlib --strip-components=1
tar -xf libzip_*.orig.tar.* -C libzip --strip-components=1

common=("-DCMAKE_TOOLCHAIN_FILE=$toolchain" "-DCMAKE_INSTALL_PREFIX=$prefix" -DCMAKE_BUILD_TYPE=Release
        -DBUILD_SHARED_LIBS=OFF -DCMAKE_POSITION_INDEPENDENT_CODE=ON -DCMAKE_POLICY_DEFAULT_CMP0074=NEW -G "Unix Makefiles")
"$cmake" -S zlib -B zlib-build "${common[@]}" >log 2>&1 || { tail -30 log >&2; exit 1; }
"$cmake" --build zlib-build --target zlibstatic >log 2>&1 || { tail -30 log >&2; exit 1; }
mkdir -p "$prefix/lib" "$prefix/include"
cp zlib-build/libz.a "$prefix/lib/"
cp zlib/zlib.h zlib-build/zconf.h "$prefix/include/"
off=()
for feature in ENABLE_COMMONCRYPTO ENABLE_GNUTLS ENABLE_MBEDTLS ENABLE_OPENSSL ENABLE_WINDOWS_CRYPTO ENABLE_BZIP2 ENABLE_LZMA \
               BUILD_TOOLS BUILD_REGRESS BUILD_EXAMPLES BUILD_DOC; do
  off+=("-D$feature=OFF")
done
"$cmake" -S libzip -B libzip-build "${common[@]}" "${off[@]}" "-DZLIB_LIBRARY=$prefix/lib/libz.a" \
  "-DZLIB_INCLUDE_DIR=$prefix/include" >log 2>&1 || { tail -30 log >&2; exit 1; }
"$cmake" --build libzip-build --target install >log 2>&1 || { tail -30 log >&2; exit 1; }
cd "$prefix"
rm -rf "$work"
