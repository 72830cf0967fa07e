"""The studio: procedural scenes on a grid, exact edits and rules, and users who speak in templates."""
