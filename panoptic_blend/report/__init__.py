"""The HTML page about a result set."""
