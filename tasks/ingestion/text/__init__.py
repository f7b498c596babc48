"""Text and conversations: what is read, and what is to be answered."""
