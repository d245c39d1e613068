"""Data sets, texts and tokenizers, and the windows that a model reads."""
