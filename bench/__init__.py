"""The numbers of docs/benchmarks.md, measured on the machine at hand. Run it when nothing else runs."""
