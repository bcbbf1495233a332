"""The machine that the box runs on, what is wrong with it and the way out, and keeping what matters somewhere else."""
