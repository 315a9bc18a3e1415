"""CockroachDB under Docker Compose: nine nodes, a HAProxy a region, the WAN, in containers.

layout    names and ports, computed from the settings
render    what Compose and HAProxy are given; pure
settings  what a lab was made with, and its secrets
starting  the stages between nothing and a lab in service
cluster   all of it behind labkit.cluster.base
"""
