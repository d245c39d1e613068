"""Scores with their intervals, and what they break down into; times of models."""
