#!/usr/bin/env bash
# Several noise draws per context (model.noise_draws 1, 2, 4) at equal time: the demo's diffusion transformer, isolated
# attention, two seeds. STEPS are those with one draw; the others get as many as take the same time (a step takes 1 / 1.25
# / 1.96 of the CPU time on two cores).
# Command:  make demo && experiments/noise_draws.sh demo noise_draws [STEPS]
# Hardware: 2 CPU cores, 7 minutes a training at 1200 steps. Resumes where it was stopped. Expected: see LOG.md.
set -euo pipefail
demo=$1 out=$2 steps=${3:-1200}
here=$(dirname "$0")
for seed in 0 1; do
    for setting in 1:100 2:80 4:51; do
        draws=${setting%:*} count=$((steps * ${setting#*:} / 100))
        python -m mstv.cli.main fit -c "$here/demo_diffusion.yaml" --run "$out/draws$draws-$seed" \
            --data.folder "$demo/latents" --data.seed "$seed" --model.seed "$seed" --model.noise_draws "$draws" \
            --model.optimiser.decay_steps "$count" --trainer.max_steps "$count" --trainer.val_check_interval "$count" \
            --wandb false
    done
done
