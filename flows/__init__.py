"""Flows: entrypoints only. One file, one @flow; nothing in tasks imports from here."""
