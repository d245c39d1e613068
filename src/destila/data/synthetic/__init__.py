"""Questions made from text, and more of them from labeled ones."""
