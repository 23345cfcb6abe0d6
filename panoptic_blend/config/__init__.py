"""Every option of an experiment, and how it is read."""
