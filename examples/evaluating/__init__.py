"""The parts of `examples/evaluate.py`.

- `questions`: the questions, and the answers that are right;
- `figures`: means with their intervals, as the tables have them;
- `metrics`: what an answer is worth beside the one that is right;
- `answers`: asks the graph, and measures its answers.
"""
