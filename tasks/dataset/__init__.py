"""What a sample is: its payload and id, its target, text and images as numbers."""
