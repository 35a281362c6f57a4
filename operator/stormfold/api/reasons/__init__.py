"""Every reason that a status, an Event or an answer can give, by what it is about."""
