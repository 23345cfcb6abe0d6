"""Publish a trained model on the Hugging Face Hub, with a card that says what it is and how good it is."""

from panoptic_blend.extras import require_extra

require_extra("torch")
