"""Erase: remove one person from every place that holds their events, in slices that can be interrupted and repeated."""
