"""The parts of `examples/evaluate.py`.

- `sets`: reads questions, the answers that are right, and the paragraphs that they are asked of;
- `ways`: the ways to search; `expansion` has the terms that one of them adds to a query;
- `measuring`: asks the questions, and compares what is found with what is needed;
- `figures`: means with their intervals, and differences with their p-values;
- `report`: the tables and the chart of the searches;
- `answers`: asks the graph, and measures its answers, by what `metrics` makes of an answer.
"""
