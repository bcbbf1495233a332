"""The annotator: a node of a Learning Loop that helps a person draw masks in the Loop's own pages."""
