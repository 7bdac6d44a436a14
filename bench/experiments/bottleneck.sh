#!/bin/bash
# The experiments of docs/bottleneck.md: bottleneck.sh PROGRAM DATA RESULTS PART...
# DATA holds the folders mnist and cifar10. Results are lines of files in RESULTS, trainings leave checkpoints beside them:
# stopped at any moment, the same command goes on. Parts: gaussian noise table1-small table1 table1-full-small table1-full
# table2-small table2 table3 table3-cifar planes embeddings. ITERATIONS, SEEDS, THREADS and TRACE (steps between two
# evaluations, end to end) may be set.
set -eu
program=$1 data=$2 results=$3; shift 3
seeds=${SEEDS:-1 2 3} threads=${THREADS:-1}
mkdir -p "$results"
common=(--quiet --threads "$threads")

# train FILE CHECKPOINT OPTIONS...: the checkpoint goes when the training is done.
train() {
  local file=$results/$1 checkpoint=$results/$2.safetensors; shift 2
  "$program" train "${common[@]}" --results "$file" --checkpoint "$checkpoint" "$@" && rm -f "$checkpoint"
}

# table1 FILE TAG SEED OPTIONS...: the three methods on MNIST's multi-layer perceptron.
table1() {
  local file=$1 tag=$2 seed=$3; shift 3
  local net=(--model 784-512-512-10 --method xavier:distribution=uniform --data "$data/mnist" --standardise scale --seed "$seed")
  local share=() critics=()
  while [ $# -gt 0 ]; do case $1 in --limit-train) share=(--limit-train "$2"); shift 2;; *) critics+=("$1"); shift;; esac; done
  train "$file" "$tag-ce-$seed" "${net[@]}" "${share[@]}" --objective regularized --beta 0 --gamma 0 --iterations 5000 --trace-every 500
  train "$file" "$tag-ib-$seed" "${net[@]}" "${share[@]}" --objective bottleneck "${critics[@]}"
  train "$file" "$tag-first-$seed" "${net[@]}" "${share[@]}" --objective bottleneck --beta 0 "${critics[@]}"
}

# What every training on MNIST with seed 1 has in common.
mnist=(--method xavier:distribution=uniform --data "$data/mnist" --standardise scale --seed 1)

# weights NAME OPTIONS...: the weights after a training, once.
weights() {
  local file=$results/$1.weights.safetensors; shift
  [ -e "$file" ] || "$program" train "${common[@]}" "${mnist[@]}" --out "$file" "$@"
}

small=(--critic-widths 256-256 --critic-lr 5e-4)
for part in "$@"; do
  case $part in
    gaussian)  # closed forms
      number=0
      for seed in $seeds; do
        number=$((number + 1))
        for rate in 0.01 1; do
          for pairs in channel:a=2,b=1,input=1,noise=0.5 gaussian:dimensions={2,10,20},nats={0,0.5,2,4}; do
            "$program" information "${common[@]}" --pairs "synthetic:$pairs" "${small[@]}" --average-rate $rate --batch 256 \
              --updates "${ITERATIONS:-3000}" --seeds $number --results "$results/information-gaussian.jsonl"
          done
        done
      done;;
    noise)  # figure 2
      "$program" information "${common[@]}" --model 784-512-512-10 --method xavier:distribution=uniform --data "$data/mnist" \
        --standardise scale --layer 2 --with input --estimator aa-mine,mine --noise-variance 4,2,1,0.1,0.01,0 "${small[@]}" \
        --average-rate 0.01 --batch 500 --updates "${ITERATIONS:-1000}" --evaluation-pairs 20000 --seeds "$(echo "$seeds" | wc -w)" \
        --results "$results/information-noise.jsonl";;
    table1-small)  # 1 % of MNIST, small critics
      for seed in $seeds; do
        table1 bottleneck-mnist.jsonl small "$seed" --limit-train 600 --iterations "${ITERATIONS:-500}" "${small[@]}" --warmup 1000
      done;;
    planes)  # figures 3 and 4, with small critics
      net=(--model 784-512-512-10 "${mnist[@]}")
      for decay in 0 0.001; do
        plane=$results/plane-ce-$decay.jsonl
        [ -e "$plane" ] || "$program" train "${common[@]}" "${net[@]}" --optimizer adam --lr 0.001 --weight-decay $decay --epochs 20 \
          "${small[@]}" --plane "$plane"
      done
      train bottleneck-mnist.jsonl planes "${net[@]}" --objective bottleneck "${small[@]}" --warmup 1000 --iterations "${ITERATIONS:-5000}" \
        --plane "$results/plane-ib.jsonl"
      train bottleneck-mnist.jsonl planes-first "${net[@]}" --objective bottleneck --beta 0 "${small[@]}" --warmup 1000 --iterations "${ITERATIONS:-5000}";;
    embeddings)  # figure 5: the first hidden layer by beta, and the outputs at 1 %
      for beta in 100 0.001; do
        weights "first-layer-$beta" --model 784-512-10 --objective bottleneck --beta $beta "${small[@]}" --warmup 1000 --iterations "${ITERATIONS:-5000}"
      done
      weights outputs-ce --model 784-512-512-10 --limit-train 600 --objective regularized --beta 0 --gamma 0 --iterations 5000
      weights outputs-ib --model 784-512-512-10 --limit-train 600 --objective bottleneck "${small[@]}" --warmup 1000 \
        --iterations "${ITERATIONS:-5000}";;
    table1)  # 1 % of MNIST, critics of the paper
      for seed in $seeds; do
        table1 bottleneck-mnist.jsonl paper "$seed" --limit-train 600 --iterations "${ITERATIONS:-500}"
      done;;
    table1-full-small)  # all of MNIST, small critics
      for seed in $seeds; do
        table1 bottleneck-mnist.jsonl full-small "$seed" --iterations "${ITERATIONS:-500}" "${small[@]}" --warmup 1000
      done;;
    table1-full)
      for seed in $seeds; do table1 bottleneck-mnist.jsonl full "$seed" --iterations "${ITERATIONS:-500}"; done;;
    table2-small|table2)  # with small critics, and with those of the paper
      if [ "$part" = table2-small ]; then tag=t2s critics=("${small[@]}" --warmup 1000); else tag=t2 critics=(); fi
      for seed in $seeds; do
        net=(--model 3x32x32:conv16,pool2,conv16,pool2,conv16,pool2,512,512,10 --method xavier:distribution=uniform
             --data "$data/cifar10" --standardise scale --seed "$seed")
        train bottleneck-cifar.jsonl "$tag-ce-$seed" "${net[@]}" --objective regularized --beta 0 --gamma 0 --iterations 5000 --trace-every 500
        train bottleneck-cifar.jsonl "$tag-ib-$seed" "${net[@]}" --objective bottleneck --iterations "${ITERATIONS:-500}" "${critics[@]}"
        train bottleneck-cifar.jsonl "$tag-first-$seed" "${net[@]}" --objective bottleneck --beta 0 --iterations "${ITERATIONS:-500}" "${critics[@]}"
      done;;
    table3)  # end to end on MNIST
      for seed in $seeds; do
        for share in 600 0; do
          for weights in 1,0,0 0,1,0.001 1,1,0.001; do
            IFS=, read -r alpha beta gamma <<< "$weights"
            train bottleneck-end-to-end.jsonl "t3-$share-$weights-$seed" --model 784-600-400-10 --method xavier:distribution=uniform \
              --data "$data/mnist" --standardise scale --seed "$seed" --limit-train $share --objective regularized --alpha "$alpha" \
              --beta "$beta" --gamma "$gamma" --iterations "${ITERATIONS:-5000}" --trace-every 500
          done
        done
      done;;
    table3-cifar)  # and figure 6
      for seed in $seeds; do
        for weights in 1,0,0 1,0.5,0 1,0,0.001 1,0,0.01 1,1,0; do
          IFS=, read -r alpha beta gamma <<< "$weights"
          train bottleneck-end-to-end.jsonl "t3c-$weights-$seed" --method xavier:distribution=uniform --data "$data/cifar10" \
            --model 3x32x32:conv48,conv48,pool2,dropout0.25,conv96,conv96,pool2,dropout0.25,conv192,conv192,pool2,dropout0.25,512,relu,dropout0.5,512,relu,dropout0.5,10 \
            --standardise scale --seed "$seed" --objective regularized --alpha "$alpha" --beta "$beta" --gamma "$gamma" \
            --iterations "${ITERATIONS:-20000}" --trace-every "${TRACE:-500}"
        done
      done;;
    *) echo "unknown part '$part'" >&2; exit 2;;
  esac
done
