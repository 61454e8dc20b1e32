"""What the lessons import: one module a concept, none of it about making or publishing the course."""
