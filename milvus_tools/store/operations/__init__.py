"""What the public methods do, as coroutines on the I/O loop."""
