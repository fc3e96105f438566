"""The plan document and its renderings: text, JSON, Markdown, HTML and CSV. Pure: no I/O, no clock."""
