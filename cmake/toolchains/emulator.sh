#!/usr/bin/env bash
# emulator.sh FOLDER: qemu-riscv64 of Debian's backports into FOLDER, not installed, where this machine's own is older than 8:
# that of Debian 12 (7.2) ends with an assertion at a conversion of vectors to integers. The lists of apt stay as they are.
set -euo pipefail
folder="$(realpath -m "$1")"
version="$(qemu-riscv64 --version 2>/dev/null | sed -n 's/^qemu-riscv64 version \([0-9]*\).*/\1/p')"
if [ -x "$folder/qemu-riscv64" ] || [ "${version:-0}" -ge 8 ]; then exit 0; fi

rm -rf "$folder"
mkdir -p "$folder/work/lists/partial"
cd "$folder/work"
release="$(. /etc/os-release && echo "$VERSION_CODENAME")"
echo "deb http://deb.debian.org/debian $release-backports main" > sources.list
apt=(apt-get -qq -o "Dir::Etc::sourcelist=$PWD/sources.list" -o Dir::Etc::sourceparts=/dev/null -o "Dir::State::lists=$PWD/lists"
     -o APT::Sandbox::User="$(id -un)")
if ! "${apt[@]}" update || ! "${apt[@]}" download qemu-user; then
  echo "riscv64 needs qemu-riscv64 8 or newer, found ${version:-none}, and $release-backports has no qemu-user to download" >&2
  exit 1
fi
dpkg-deb --fsys-tarfile qemu-user_*.deb | tar -x ./usr/bin/qemu-riscv64
mv usr/bin/qemu-riscv64 "$folder/"
cd "$folder"
rm -rf work
