"""Transfer learning for muscle at L3: how few annotated slices a site needs, and which pre-training gets it there."""
