"""Respiratory muscle on CT against lung function: the study, its reference equations, and its proof on phantoms."""
