"""Read and write files: pictures, maps, COCO JSON, tables, videos."""
