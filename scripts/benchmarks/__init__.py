"""The parts of `scripts/bench`: what is run, how it is timed, and the tables and plots made of it.

`run_*.py` are the processes that are timed, each in the environment of the library it runs; of this folder
they import `stopwatch`, `recipe`, `network`, `runner`, `nnunet_predictor` and `people` alone. Everything else runs in
the process that starts them.
"""
