"""Download COCO from its server: resumable, checked and unpacked."""
