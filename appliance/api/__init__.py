"""HTTP: the routes of a Learning Loop detector node, a file per resource, and below `v1` everything of ours."""
