"""The environment that the graphs' page names sends traces to LangSmith and to OpenTelemetry."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.helpers.langgraph_dev import ROOT
from tests.helpers.trace_collector import TraceCollector

PAGE = (ROOT / "graphs" / "README.md").read_text(encoding="utf-8")
QUESTION = "What is a demon made of dice?"


@pytest.fixture
def collector() -> Iterator[TraceCollector]:
    """The service."""
    with TraceCollector() as collector:
        yield collector


def environment_of(marker: str) -> dict[str, str]:
    """Return the variables that the block after a marker exports."""
    (block,) = re.findall(rf"<!-- {marker} -->\n```bash\n(.*?)```", PAGE, re.DOTALL)
    exported = re.findall(r"^export (.*)$", block, re.MULTILINE)
    return dict(one.split("=", 1) for line in exported for one in shlex.split(line))


def ask(**environment: str) -> None:
    """Ask the graph, by rule, in a process with the variables."""
    outside = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("LANGSMITH", "LANGCHAIN", "OTEL"))
    }
    command = [sys.executable, "-m", "graphs.rag", QUESTION, "--rounds", "1"]
    subprocess.run(
        command,
        cwd=ROOT,
        env={**outside, **environment},
        capture_output=True,
        check=True,
        timeout=240,
    )


def test_a_run_is_traced_to_langsmith(collector: TraceCollector) -> None:
    """With its nodes, and the retriever's Documents; the key is a header."""
    named = environment_of("LangSmith")
    ask(**named, LANGSMITH_ENDPOINT=collector.url)
    trace = collector.text("/runs/multipart")
    run = '"run_type":"retriever"'
    for said in ("retrieve", "reflect", run, QUESTION, "Lester Smith", "birds"):
        assert said in trace, said
    keys = {headers.get("x-api-key") for _, headers, _ in collector.posts}
    assert keys == {named["LANGSMITH_API_KEY"]}


def test_a_run_is_traced_by_opentelemetry_alone(collector: TraceCollector) -> None:
    """To the collector's address, and to no other: LangSmith's would be refused without a key."""
    named = environment_of("OpenTelemetry")
    assert named["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://localhost:4318"
    named["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
    ask(**named, LANGSMITH_ENDPOINT=f"{collector.url}/langsmith")
    trace = collector.text("/v1/traces")
    for said in ("retrieve", "reflect", "retriever", QUESTION, "Lester Smith", "birds"):
        assert said in trace, said
    assert {path for path, _, _ in collector.posts} == {"/v1/traces"}
