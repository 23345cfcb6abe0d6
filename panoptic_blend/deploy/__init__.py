"""Exported models, which run without torch: their description, and what follows the network."""
