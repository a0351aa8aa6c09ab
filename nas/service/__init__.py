"""The HTTP service: launches searches in processes of their own, watches them, and answers from their run files."""
