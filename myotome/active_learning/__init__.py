"""Which case to label next, and what labels do to a model: scores, strategies, and a simulation of the loop."""
