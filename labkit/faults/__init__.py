"""What can be done to a cluster: one fault a file, one base.

base        Fault, Probe, and `applied`, which heals however its block ends
kill        a power cut                    \\
stop        an orderly shutdown             } of a node, a region or a balancer
pause       alive, but not answering       /
partition   links turn into black holes    \\  between a region and a peer,
slow        links get delay and jitter     /   or all other regions
links       what the faults of links have in common
parse       faults as people type them
"""
