"""Plotly figures: the timeline of a result, the map of a cluster, and their common theme."""
