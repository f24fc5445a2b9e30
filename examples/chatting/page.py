"""The page: Chainlit's, with nothing from other hosts, in a folder that is gone afterwards."""

import importlib.util
import json
import os
import pathlib
import re
import shutil
import tempfile
from typing import Any, Final

from graphs.auth import USERS
from milvus_tools.users import USERS_VARIABLE

HERE: Final = pathlib.Path(__file__).parent
HANDLERS: Final = HERE / "handlers.py"
BUILD: Final = "build"

# Also for what a document or a model writes: an image of another host would tell it what is read.
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_ELSEWHERE: Final = re.compile(r"<link\b[^>]*\bhref=\"https?://[^>]*>")
_WORDS: Final = {"using": "Running:", "used": ""}  # before the name of a step


def serve(host: str, port: int) -> None:
    """Serve the page until it is interrupted.

    Raises:
        SystemExit: If the deployment has users, whom the page can't tell apart.
    """
    if USERS:
        raise SystemExit(
            f"{USERS_VARIABLE} names users, and this page has none: it would show each visitor "
            "the whole collection. Unset it, or serve the graphs with `langgraph dev`."
        )
    with tempfile.TemporaryDirectory(prefix="chat-", ignore_cleanup_errors=True) as folder:
        lay_out(pathlib.Path(folder))
        os.environ["CHAINLIT_APP_ROOT"] = folder  # which Chainlit reads when it is imported
        import uvicorn  # noqa: PLC0415

        app = make_app()
        print(f"Open http://{host}:{port} in a browser. Ctrl-C stops the page.", flush=True)
        uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=1)


def lay_out(folder: pathlib.Path) -> None:
    """Write what Chainlit reads: its settings, its words, and the page without other hosts."""
    found = importlib.util.find_spec("chainlit")
    if found is None or found.origin is None:
        raise SystemExit('Chainlit is missing: pip install -e ".[graph]" --group chat')
    package = pathlib.Path(found.origin).parent
    settings, words = folder / ".chainlit", pathlib.Path("translations", "en-US.json")
    (settings / words).parent.mkdir(parents=True)
    text = (HERE / "config.toml").read_text(encoding="utf-8")
    build = f'[UI]\ncustom_build = "{BUILD}"\n'
    (settings / "config.toml").write_text(text.replace("[UI]\n", build), encoding="utf-8")
    translation = (package / words).read_text(encoding="utf-8")
    (settings / words).write_text(reworded(translation), encoding="utf-8")
    shutil.copytree(HERE / "public", folder / "public")
    (folder / "chainlit.md").touch()  # no page of instructions
    frontend = package / "frontend" / "dist"
    shutil.copytree(frontend, folder / BUILD, ignore=shutil.ignore_patterns("*.map"))
    index = folder / BUILD / "index.html"
    index.write_text(without_elsewhere(index.read_text(encoding="utf-8")), encoding="utf-8")


def without_elsewhere(html: str) -> str:
    """Return a page without its links to other hosts: a font, and a style for formulas."""
    return _ELSEWHERE.sub("", html)


def reworded(translation: str) -> str:
    """Return Chainlit's words with those for our steps."""
    words = json.loads(translation)
    words["chat"]["messages"]["status"] = _WORDS
    words["chat"]["input"]["placeholder"] = "Ask a question, or drop files"
    words["chat"]["watermark"] = "Check the passages that an answer cites."
    return json.dumps(words)


def make_app() -> Any:
    """Return the ASGI app."""
    from chainlit.server import sio  # noqa: PLC0415 - its folder must be laid out
    from chainlit.utils import mount_chainlit  # noqa: PLC0415
    from fastapi import FastAPI  # noqa: PLC0415

    sio.eio.cors_allowed_origins = None  # the page's own, where Chainlit lets in any site's
    app = FastAPI(openapi_url=None)

    async def with_policy(request: Any, call_next: Any) -> Any:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    app.middleware("http")(with_policy)
    mount_chainlit(app, str(HANDLERS), path="/")
    return app
