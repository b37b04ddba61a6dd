#!/usr/bin/env bash
# Joint against isolated attention: the demo's diffusion transformer, three seeds of each, the same budget.
# Command:  make demo && experiments/attention_modes.sh demo attention_modes [NUMBER_OF_SEEDS]
# Hardware: 2 CPU cores, 7 minutes a training. Resumes where it was stopped. Expected: see LOG.md.
set -euo pipefail
demo=$1 out=$2 seeds=${3:-3}
here=$(dirname "$0")
for seed in $(seq 0 $((seeds - 1))); do
    for attention in joint isolated; do
        python -m mstv.cli.main fit -c "$here/demo_diffusion.yaml" --run "$out/$attention-$seed" \
            --data.folder "$demo/latents" --model.attention "$attention" --model.seed "$seed" --data.seed "$seed" \
            --wandb false
    done
done
