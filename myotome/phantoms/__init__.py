"""Digital reference objects: synthetic anatomy whose truth is known exactly."""
