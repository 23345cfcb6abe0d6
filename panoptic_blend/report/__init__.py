"""HTML report of one result set or several."""
