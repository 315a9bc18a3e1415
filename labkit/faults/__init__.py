"""Faults of a cluster, and their common base.

base        Fault, Probe, and `applied`, which heals however its block ends
signals     kill (a power cut), stop (an orderly shutdown) and pause (alive, but not answering)
            of a node, a region or a balancer
disaster    a region is cut off, then killed
brownout    a part is frozen for a share of each period
rolling     every node is restarted in turn
resize      a node is added and removed again
partition   links turn into black holes    \\  between a region and a peer,
slow        links get delay and jitter     /   or all other regions
links       the base of the faults of links
parse       faults as people type them
"""
