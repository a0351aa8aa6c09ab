"""Compression: from a trained network to a smaller, faster file of equal use."""
