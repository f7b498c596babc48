"""What every room may use: errors, plug-in families, progress, devices, events, the text of SQL files."""
