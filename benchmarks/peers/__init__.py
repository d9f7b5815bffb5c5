"""Other libraries' session recommenders on the very files, cores and ranking code of `benchmarks.next_item`."""
