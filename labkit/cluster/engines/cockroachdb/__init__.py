"""CockroachDB, and the two ways to run it.

program     command lines of the `cockroach` program
haproxy     a region's load balancer in front of the nodes
statements  every SQL statement the backend itself sends
database    those statements, sent: database and regions, survival goal, who holds leases
engine      what a lab asks of its engine
monitoring  what a node and a balancer say over HTTP
containers  a lab of it in containers: backend cockroachdb
processes   a lab of it as processes of this machine: backend cockroach-binary

The documentation meant is CockroachDB's for v25.4; each rule names its page.
"""
