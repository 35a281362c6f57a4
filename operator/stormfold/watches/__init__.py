"""What is watched beside signals: policies, requests and namespaces, by kopf. Each handler hands over in a
line."""
