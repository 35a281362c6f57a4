"""What users see: the resources of the group `stormfold.dev`, as models. `crds/` and `docs/reasons.md` are
generated from them."""
