"""What made a CI system start clew, read from what each of them says about it."""
