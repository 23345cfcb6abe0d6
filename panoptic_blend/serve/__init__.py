"""A page on which to try a model, and its endpoints: a web server that needs no torch."""

from panoptic_blend.extras import require_extra

require_extra("serve")
