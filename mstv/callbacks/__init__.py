"""Lightning callbacks: EMA, long-rollout consistency, media logging."""
