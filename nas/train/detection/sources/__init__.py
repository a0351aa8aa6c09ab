"""Readers: each turns one layout of files into images with boxes."""
