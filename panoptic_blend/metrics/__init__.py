"""Maps to numbers: definitions, without files."""
