#!/usr/bin/env bash
# emulator.sh FOLDER: qemu-riscv64 of Debian's backports into FOLDER, not installed, where this machine's own is older than 8:
# that of Debian 12 (7.2) ends with an assertion at a conversion of vectors to integers. The lists of apt stay as they are.
set -euo pipefail
. "$(dirname "$0")/apt.sh"
folder="$(realpath -m "$1")"
version="$(qemu-riscv64 --version 2>/dev/null | sed -n 's/^qemu-riscv64 version \([0-9]*\).*/\1/p' || true)"
if [ -x "$folder/qemu-riscv64" ] || [ "${version:-0}" -ge 8 ]; then exit 0; fi

rm -rf "$folder"
mkdir -p "$folder/work"
cd "$folder/work"
if ! private_apt "$PWD" "$debian_backports" || ! "${apt[@]}" download qemu-user; then
  echo "riscv64 needs qemu-riscv64 8 or newer, found ${version:-none}, and $release-backports has no qemu-user to download" >&2
  exit 1
fi
dpkg-deb --fsys-tarfile qemu-user_*.deb | tar -x ./usr/bin/qemu-riscv64
mv usr/bin/qemu-riscv64 "$folder/"
cd "$folder"
rm -rf work
