"""``python -m panoptic_blend`` is the command ``panoptic-blend``, where that is not on the path."""

from panoptic_blend.cli.main import main

if __name__ == "__main__":  # and not in processes that are started from it
    main()
