"""Inference in a process of its own: native runtimes crash, hang and leak; a child can be killed and replaced."""
