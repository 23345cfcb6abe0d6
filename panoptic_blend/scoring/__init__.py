"""Result files to numbers."""
