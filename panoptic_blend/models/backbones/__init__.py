"""Backbones, the networks that turn images into features of several strides."""
