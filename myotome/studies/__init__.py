"""The papers' protocols and the project's own evaluations, each with its config under ``configs/studies``."""
