"""What an operator does to a cluster on purpose, and what is over when it returns.

base        Operation: an experiment measures it as it measures a fault
rolling     every node is restarted in turn
nodes       a node is added, and removed again
"""
