"""Planned changes of a cluster, such as a rolling restart: each is complete when it returns.

base        Operation: an experiment measures it as it measures a fault
rolling     every node is restarted in turn
nodes       a node is added, and removed again
"""
