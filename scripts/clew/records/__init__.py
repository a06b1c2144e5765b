"""Records: who a data version is about, and where that is kept without naming them."""
