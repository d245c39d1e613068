"""Transformer models: their files, the hub, shapes, forward passes, and smaller ones made from larger ones."""
