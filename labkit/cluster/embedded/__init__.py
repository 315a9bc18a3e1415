"""The embedded engine: PostgreSQL under Patroni, etcd and HAProxy as ordinary processes.

layout     where everything is: folders and ports of a lab, computed from its settings
settings   what a lab was made with (lab.json) and its passwords (secrets.json)
programs   the server programs: out of PyPI wheels, or newer ones from PATH
config     the configuration files and command lines, rendered; nothing is started here
processes  spawning, finding and ending processes; the state folder is the truth
members    the process that Patroni runs in
patroni    questions to Patroni's REST API and to etcd
services   the processes that targets stand for, found and ended
ports      refusing to start where another process listens
starting   the order in which things come up, and how each is known to be ready
cluster    EmbeddedCluster: all of it behind the protocol of labkit.cluster.base
"""
