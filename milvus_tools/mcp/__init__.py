"""The tools of a toolkit over the Model Context Protocol, by stdio or by HTTP."""

try:
    from milvus_tools.mcp.server import build_server
    from milvus_tools.mcp.serving import http_app, serve
except ModuleNotFoundError as error:
    raise ImportError(
        'milvus_tools.mcp needs an extra: pip install "milvus_tools[mcp]"'
    ) from error

__all__ = ["build_server", "http_app", "serve"]
