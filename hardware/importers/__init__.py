"""Latency tables of other projects as device tables: one file a format."""
