"""Numbers out of a history: phases and windows, latency, recovery, and the live tail of a run."""
