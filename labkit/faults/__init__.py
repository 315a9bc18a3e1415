"""Faults of a cluster, and their common base.

base        Fault and Probe
inject      the one way to inject a fault, to await its effect and to heal it
signals     kill (a power cut), stop (an orderly shutdown) and pause (alive, but not answering)
            of a node, a region or a balancer
disaster    a region is cut off, then killed
brownout    a part is frozen for a share of each period
partition   links turn into black holes    \\  between a region and a peer,
slow        links get delay and jitter     /   or all other regions
links       the base of the faults of links
parse       faults as people type them
"""
