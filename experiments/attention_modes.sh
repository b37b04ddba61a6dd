#!/usr/bin/env bash
# Joint against isolated attention, and 12 evaluations of DPM-Solver++(2M) against 50 of DDIM: the demo's diffusion
# transformer, three seeds of each attention, the same budget.
# Command:  make demo && experiments/attention_modes.sh demo attention_modes
# Hardware: 2 CPU cores, 7 minutes a training, 2 an evaluation. Resumes where it was stopped. Expected: see LOG.md.
set -euo pipefail
demo=$1 out=$2
here=$(dirname "$0")
mstv() { python -m mstv.cli.main "$@"; }
for seed in 0 1 2; do
    for attention in joint isolated; do
        mstv fit -c "$here/demo_diffusion.yaml" --run "$out/$attention-$seed" --data.folder "$demo/latents" \
            --model.attention "$attention" --model.seed "$seed" --data.seed "$seed" --wandb false
    done
done
for seed in 0 1 2; do
    for attention in isolated joint; do
        span=("$out/$attention-$seed" --context 128 --end 384 --episodes 4)
        mstv evaluate "${span[@]}" --sampler dpm_solver --nfe 12 --protocol dpm12
        if [ "$attention" = isolated ]; then
            mstv evaluate "${span[@]}" --sampler ddim --nfe 50 --protocol ddim50
        fi
    done
done
