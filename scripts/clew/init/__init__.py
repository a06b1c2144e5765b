"""init: writes into somebody else's DVC repository what clew needs there."""
