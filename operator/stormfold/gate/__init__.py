"""Gates: whether consumers may begin."""
