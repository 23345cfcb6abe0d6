"""The command line: parse and dispatch, nothing else."""
