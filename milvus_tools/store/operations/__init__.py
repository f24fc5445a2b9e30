"""The operations behind the public methods: coroutines that run on the I/O loop."""
