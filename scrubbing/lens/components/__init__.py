"""The functions that transformer nodes are made of: frozen, compared by value, and pure."""
