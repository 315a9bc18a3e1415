"""PostgreSQL under Patroni, etcd and HAProxy as ordinary processes: the embedded backend.

layout     where everything is: folders and ports of a lab, computed from its settings
settings   what a lab was made with (lab.json) and its passwords (secrets.json)
config     the configuration files and command lines, rendered; nothing is started here
ways       the ways through the WAN
commands   how each process is started
members    the process that Patroni runs in
patroni    questions to Patroni's REST API and to etcd
engine     what a lab asks of its engine
starting   the order in which things come up, and how each is known to be ready
cluster    EmbeddedCluster: all of it behind the protocol of labkit.cluster.base
"""
