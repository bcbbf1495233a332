"""The embedded loop: a small Learning Loop of our own, reached only over its socket, like any Loop."""
