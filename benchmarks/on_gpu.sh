#!/usr/bin/env bash
# Training on one large GPU (written for an H200), in pieces of at most nine minutes. Not yet run on any.
# Command:  benchmarks/on_gpu.sh OUT all        or one piece at a time: benchmarks/on_gpu.sh OUT diffusion
# Pieces:   diffusion   size B, published plan, bf16, compiled: utilisation (45 % wanted), the framework's cost
#           attention   isolated against joint
#           modulation  per (frame, level) against per token, which is the published code's; eager too
#           kernels     attention kernels of PyTorch's choice, flash and cuDNN
#           draws       1, 2 and 4 noise draws of a context
#           tokenizer   size B, bf16, compiled: utilisation (40 % wanted), the framework's cost
#           small       sizes tiny and S of both, bf16, eager and compiled
# Sets of random latents and recorded frames are made once, in OUT/sets; results are OUT/<piece>.json.
set -euo pipefail
out=$1
cd "$(dirname "$0")/.."
mkdir -p "$out"
measure() {
    local piece=$1
    shift
    python -m benchmarks.training --device cuda --precision bf16 --minutes 8 --workers "${WORKERS:-8}" \
        --folder "$out/sets" --json "$out/$piece.json" "$@" >"$out/$piece.log"
}
run() {
    case $1 in
    diffusion) measure "$1" --models diffusion --sizes B --attention isolated --compile on --episodes 16 --rounds 9 ;;
    attention) measure "$1" --models diffusion --sizes B --loop plain --compile on --episodes 16 --rounds 9 ;;
    modulation) measure "$1" --models diffusion --sizes B --loop plain --attention isolated \
        --modulation grouped per_token --compile on off --batch 8 --episodes 16 ;;
    kernels) measure "$1" --models diffusion --sizes B --loop plain --compile on --kernel default flash cudnn \
        --batch 8 --episodes 16 ;;
    draws) measure "$1" --models diffusion --sizes B --loop plain --attention isolated --noise-draws 1 2 4 \
        --compile on --batch 8 --episodes 16 ;;
    tokenizer) measure "$1" --models tokenizer --sizes B --compile on --episodes 64 --rounds 9 ;;
    small) measure "$1" --sizes tiny S --compile off on --loop plain --episodes 64 ;;
    *)
        echo "on_gpu.sh: no piece $1: give diffusion, attention, modulation, kernels, draws, tokenizer, small or all" >&2
        exit 2
        ;;
    esac
}
for piece in ${2:-all}; do
    if [ "$piece" = all ]; then
        for each in diffusion tokenizer attention modulation kernels draws small; do run "$each"; done
    else
        run "$piece"
    fi
done
