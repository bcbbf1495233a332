"""The Learning Loop protocol as types. Every era of learning-loop-node (0.13 to 0.27) is accepted; unknown keys are kept."""
