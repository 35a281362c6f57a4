"""Alerts: the webhook, who may post, and what a post's alerts become."""
