"""Audit: one question each about who is in which model."""
