"""Explained behaviours, one module or folder each: its model, its data, its claims."""
