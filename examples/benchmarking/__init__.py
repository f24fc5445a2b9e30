"""What `examples/benchmark.py` is made of.

- `scenarios`: what is measured, a function each;
- `bench`: what a scenario works with: the backend, both sides' stores, the embedding service;
- `comparing`: runs the sides in turns, and lets no figure count whose answer differs;
- `results`: the figures, and their arithmetic;
- `report` and `chart`: the table and the picture;
- `service`, `service_process` and `server`: the processes beside this one.
"""
