"""The store's public methods, async and blocking."""
