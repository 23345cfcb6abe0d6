"""Download COCO and known weights from their servers: resumed, checked, and unpacked."""
