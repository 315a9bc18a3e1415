"""Operations of an administrator that are complete when they return; a fault lasts.

base        Operation: an experiment measures it as it measures a fault
rolling     every node is restarted in turn
nodes       a node is added, and removed again
"""
