"""Other libraries' session recommenders on the same files, cores and ranking code as `benchmarks.next_item`."""
