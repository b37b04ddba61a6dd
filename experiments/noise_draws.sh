#!/usr/bin/env bash
# Several noise draws per context (model.noise_draws 1, 2, 4) at equal time: the demo's diffusion transformer, isolated
# attention, two seeds, as many steps each as take the time of 600 with one draw (measured step times 1 / 1.25 / 1.96).
# Command:  make demo && experiments/noise_draws.sh demo noise_draws
# Hardware: 2 CPU cores, 4 minutes a training. Resumes where it was stopped. Expected: see LOG.md.
set -euo pipefail
demo=$1 out=$2
here=$(dirname "$0")
for seed in 0 1; do
    for setting in 1:600 2:480 4:306; do
        draws=${setting%:*} steps=${setting#*:}
        python -m mstv.cli.main fit -c "$here/demo_diffusion.yaml" --run "$out/draws$draws-$seed" \
            --data.folder "$demo/latents" --data.seed "$seed" --model.seed "$seed" --model.noise_draws "$draws" \
            --model.optimiser.decay_steps "$steps" --trainer.max_steps "$steps" --trainer.val_check_interval 100 \
            --wandb false
    done
done
