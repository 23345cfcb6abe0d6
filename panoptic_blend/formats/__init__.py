"""Files to structures and back: pictures, maps, COCO JSON, tables, videos."""
