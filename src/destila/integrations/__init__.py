"""Other libraries' ways to ask a reader: transformers, Haystack, Ray."""
