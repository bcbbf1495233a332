"""The trainer: pictures and annotations become a new model, for a Learning Loop or from a folder, on any Linux machine."""
