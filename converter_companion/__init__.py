"""The converter: makes of a trained model the formats that devices run, and proves that they see the same.

It works as a node of a Learning Loop and as a tool on the command line. What it can convert stands in `pairs`.
"""
