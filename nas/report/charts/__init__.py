"""The drawings of the report: each module turns plain data into SVG of a given width."""
