"""The numbers of the README, measured on the machine at hand. Run it when nothing else runs."""
