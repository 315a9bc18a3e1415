"""The numbers of docs/benchmarks.md, on the machine at hand. Run it when nothing else runs."""
