"""Scoring of result files: PQ, details, comparisons, and tables."""
