"""The databases: for each engine what must hold, and what its parts are told.

postgresql   PostgreSQL under Patroni, with etcd and HAProxy, as processes
cockroachdb  CockroachDB behind HAProxy, in containers or as processes
"""
