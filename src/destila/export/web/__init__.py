"""The page without a server: a static folder whose reader runs in the visitor's browser."""
