"""The classes behind `main.py`."""
