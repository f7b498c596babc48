"""Files as they come: which are there, how they are packed and written, and the fields within their rows."""
