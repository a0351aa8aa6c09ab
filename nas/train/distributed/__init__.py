"""One training by several processes: each takes a share of every batch, and all stay equal."""
