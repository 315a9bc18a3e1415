"""Plotly figures: the timeline of a result, the map of a cluster, and their common theme."""

from labkit.report.figures import saved as saved  # so that each leaves a picture in a notebook, too
