"""The load: orders sent by schedule, and everything that became of them written down."""
