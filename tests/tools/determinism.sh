#!/usr/bin/env bash
# determinism.sh PROGRAM: on every CPU target that runs here, the weights file has the same SHA-256 for 1, 2 and 4
# threads, after `init --method ibci` on 10,000 samples and after two epochs of `train`; and another seed has another.
set -euo pipefail
program=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

targets=$("$program" targets --json | python3 -c '
import json, sys
print(" ".join(t["name"] for t in json.load(sys.stdin)["targets"] if t["runnable"] and not t["gpu"]))')
[ -n "$targets" ] || { echo "FAILED: no CPU target runs here"; exit 1; }

data=synthetic:glyphs:train=10000,test=1000
model=256-96-41-10
norms=256:64,bn,relu,dropout0.2,41,bn,tanh,10
digest() { sha256sum "$1" | cut -d' ' -f1; }

for target in $targets; do
  for what in init train norms; do
    first=
    for threads in 1 2 4; do
      out="$folder/$what.safetensors"
      case $what in
        init) "$program" init --model $model --data $data --method ibci --seed 1 --threads $threads --target "$target" --out "$out" --quiet >/dev/null ;;
        norms) "$program" train --model $norms --data $data --method ibci:k=2 --epochs 2 --optimizer adam --lr 0.01 --seed 1 --threads $threads --target "$target" --out "$out" --quiet >/dev/null ;;
        train) "$program" train --model $model --data $data --method he --epochs 2 --seed 1 --threads $threads --target "$target" --out "$out" --quiet >/dev/null ;;
      esac
      sum=$(digest "$out")
      echo "$target $what threads=$threads $sum"
      [ -z "$first" ] && first=$sum
      [ "$sum" = "$first" ] || { echo "FAILED: $target $what: $threads threads give other weights"; exit 1; }
    done
  done
  "$program" init --model $model --data $data --method ibci --seed 2 --target "$target" --out "$folder/other.safetensors" --quiet >/dev/null
  [ "$(digest "$folder/other.safetensors")" != "$(digest "$folder/init.safetensors")" ] ||
    { echo "FAILED: $target: another seed gives the same weights"; exit 1; }
done
