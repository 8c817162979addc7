"""``python -m myotome`` is the command ``myotome``."""

from myotome.cli import main

if __name__ == "__main__":
    main()
