"""What every room may use: errors, registries of components, progress, devices, events, the text of SQL files."""
