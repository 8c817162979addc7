"""Many cases: found, run on workers that may die, looked at, compared."""
