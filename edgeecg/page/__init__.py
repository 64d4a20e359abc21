"""Pages that need nothing beside themselves: a frame, tables, charts as inline SVG."""
