"""Shapes, the generated data set."""
