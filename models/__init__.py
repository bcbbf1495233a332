"""The core: what a model reports, where it lives and how it runs. Knows no web framework."""
