"""REST of ours, below `/api/v1`."""
