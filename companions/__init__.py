"""What trainer, converter and annotator have in common: settings, the connection to the Loop, and the small server.

Nothing here knows PyTorch, so that an annotator needs none.
"""
