"""The I/O loop, and how calls from every thread and event loop reach it."""
