"""Consent: who agreed that their records are used, and what follows when they no longer do."""
