"""CockroachDB as processes of this machine: a `cockroach` on PATH, and no Docker.

layout    where processes find each other
commands  how each is started
starting  the stages that processes need between nothing and a lab in service
cluster   all of it behind labkit.cluster.base
"""
