"""Tables: which column is used for what, and rows as samples keep them."""
