"""HTML report of one or two result sets."""
