"""Readers: each turns one kind of file or object into raw image arrays."""
