"""CockroachDB as processes of this machine: a `cockroach` on PATH, and no Docker.

layout    where processes find each other
machine   what runs them
starting  the stages that processes need between nothing and a lab in service
cluster   all of it behind labkit.cluster.base
"""
