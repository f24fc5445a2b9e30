"""Ask questions in a browser: the searches run side by side, and the answer cites its passages.

Needs `pip install -e ".[graph]" --group chat`, and neither a key nor a server nor a network: with
nothing set, it answers from the Wikipedia paragraphs by rule. The variables of `.env.example` name
a collection and a model of your own.

    python examples/chat.py
"""

import argparse

from chatting.page import serve

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A page that answers from a Milvus collection.")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="default: %(default)s")
    given = parser.parse_args()
    serve(given.host, given.port)
