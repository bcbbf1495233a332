"""REST of the embedded loop, a file per resource: each has `router(services)`."""
