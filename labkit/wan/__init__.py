"""The WAN: one process that every byte between two regions passes, later.

Each service that another region may dial gets a listener here, and the dialler is given the
listener's port instead of the service's own. The process finds out which region dials, and
sends each direction of the connection through a delay line of that link:

      us-west-2                      this process                       us-east-1
    ┌───────────┐       ┌────────────────────────────────────┐       ┌────────────┐
    │           │──────>│ who dials?  us-west-2 > us-east-1  │──────>│ PostgreSQL │
    │  Patroni  │       │             ░░░░░ 33 ms ░░░░░      │       │ Patroni    │
    │           │<──────│             us-east-1 > us-west-2  │<──────│ etcd       │
    └───────────┘       └────────────────────────────────────┘       └────────────┘

A link is one direction between two regions. It has a delay and a jitter (uniform, added to the
delay), and it can be cut. What holds:

- Bytes of a connection never arrive out of order or changed, nor more than half a millisecond
  early: `labkit.wan.line.TIMER_STEP_S`.
- A new connection pays its TCP handshake: its first bytes arrive 1.5 round trips after it dialled.
- A cut is a black hole, not a reset: bytes are held, new connections hang. It takes one
  direction; a partition is both. A new connection needs both, as a handshake does.
- When a cut heals, what was held goes on, but what a connection closed during the cut still
  held is dropped, and its other end is reset.
- Nobody gets past the delay: who cannot be named is refused (`labkit.wan.peek`).
- Within a region there is no delay.

What it cannot do, because each end's kernel talks to this process and not to the other end:
connect() itself succeeds at once (the wait shows in the first answer), TCP keepalive and
retransmission timers notice no cut, and no packet is ever lost (jitter stands in for it).

    python -m labkit.wan PLAN.json    runs a `labkit.wan.plan.Plan`; prints "ready" when it listens
    labkit.wan.client.WanClient       asks it, and changes its links while it runs

Standard library only: it also runs inside a stock Python container.
"""
