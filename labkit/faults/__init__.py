"""What can be done to a cluster: one fault a file, one base.

base        Fault, Probe, and `applied`, which heals however its block ends
kill        a power cut                    \\
stop        an orderly shutdown             } of a node, a region or a balancer
pause       alive, but not answering       /
disaster    a region is cut off, then killed
brownout    frozen for a share of each period
rolling     every node restarted in turn
resize      a node comes and goes
partition   links turn into black holes    \\  between a region and a peer,
slow        links get delay and jitter     /   or all other regions
links       what the faults of links have in common
parse       faults as people type them
"""
