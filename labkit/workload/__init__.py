"""The load: clients that send orders by schedule and record the outcome of each."""
