"""Myotome measures muscle, bone and disc on CT and MRI."""

__version__ = "0.1.0"
