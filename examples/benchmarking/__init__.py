"""The parts of `examples/benchmark.py`.

- `scenarios`: functions that yield the cases to measure;
- `work`: the work that both sides are given, and the answers it must have;
- `sides`: the stores of both sides, and ways past them to the collection;
- `bench`: times work on a backend;
- `clustered`: rows and vectors for the scenario `scale`;
- `comparing`: runs the sides in turns, and drops figures whose answers differ;
- `report` and `chart`: the table and the picture.
"""
