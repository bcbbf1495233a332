"""Networks in PyTorch: what the trainer trains and the converter converts. Devices never import this.

The two companions may not import each other, and the core knows no torch; what both need of a network stands here: its
layers, how it is written into a bundle, and how it leaves PyTorch.
"""
