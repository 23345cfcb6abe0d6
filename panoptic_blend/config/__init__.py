"""The options of an experiment, read from YAML files and ``key=value`` overrides."""
