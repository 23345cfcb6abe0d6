"""From the raw predictions of a network to its outputs, in numpy: what an exported model needs, and `models` shares."""
