"""What pages share: putting a template together, pictures and maps for a page, and the viewer's styles and scripts."""
