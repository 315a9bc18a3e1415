"""The trading application: its tables, placing an order, quotes, and the final audit."""
