"""Metrics: definitions that turn maps into numbers, without files."""
