"""Backbones: what turns images into features of several strides."""
