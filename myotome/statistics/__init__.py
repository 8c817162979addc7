"""Inference about measurements: agreement, correlation, intervals."""
