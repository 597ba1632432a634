"""Training: a plain-torch loop, its checkpoints, and Ray Train as one caller of it."""
