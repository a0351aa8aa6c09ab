"""Runners: where candidates are evaluated."""
