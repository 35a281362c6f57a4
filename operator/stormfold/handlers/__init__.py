"""kopf's side: settings, start-up, and the events of the kinds with few changes. Each handler hands over in a line."""
