"""The parts of `chat.py`: the page, the conversation on it, and how it shows each part of it."""
