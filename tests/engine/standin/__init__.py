"""A test double of CockroachDB: its command line, ports, HTTP and SQL, with PostgreSQL behind.

It is NOT CockroachDB. It exists so that tests can drive the `cockroachdb` backend where CockroachDB
cannot be had. Nothing it does proves anything about CockroachDB; it holds callers to what
CockroachDB's documentation says. What it does not model it refuses (0A000, or exit status 1).

Modelled:
- the command line of `start`, `init`, `sql`, `node`, `cert`, `version`: flags v25.4 does not have
  are refused, as are those it has and this double does not heed;
- nodes find each other by --join, then dial each other at what --advertise-addr and
  --locality-advertise-addr say, so they see exactly the network that those addresses lead through;
- a node without a majority of nodes in reach is not ready, and SQL on it waits;
- with REGION survival a write is acknowledged after a node in another region has answered; when
  none does within TXN_EXPIRY_S, the transaction is rolled back, and the statement waits on;
- transactions are SERIALIZABLE; statements outside one are REPEATABLE READ, and repeated on 40001;
- multi-region statements, their rules and errors; drain, decommissioning; TLS and certificates.

Not modelled:
- storage: all nodes share one PostgreSQL, which no fault reaches. So there is no stale read, no
  lease transfer time, no unavailable range while its region is lost under ZONE survival, no
  latency to another region's leaseholder, no commit wait of GLOBAL tables, no clock;
- AS OF SYSTEM TIME and follower reads read the present;
- a link cut between two regions of three leaves both with a majority, and serving;
- integer division, hidden columns (`SELECT *` shows crdb_region), jobs, backups, changefeeds, ...
"""
