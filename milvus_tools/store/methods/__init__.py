"""The public methods of the store, async and blocking."""
