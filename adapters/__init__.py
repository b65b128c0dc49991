"""Platforms: each turns its events into messages and our replies into its own form."""
