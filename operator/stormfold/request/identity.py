"""Identity: whether a RemediationRequest is what and where stormfold would have made it. Pure."""

from stormfold.model.group import group_hash
from stormfold.model.storm import request_name
from stormfold.request.reading import Request


def foreign(request: Request) -> str:
    """Why stormfold cannot have made the request; empty if it can.

    A copy in another namespace, as of a backup, or a forged one would take what the group's own request is
    to say.
    """
    spec, group = request.resource.spec, {item.key: item.value for item in request.resource.spec.group}
    if group_hash(request.policy, tuple(group.items())) != spec.group_hash:
        return "spec.groupHash does not follow from spec.policyRef and spec.group"
    if request.resource.metadata.name != (name := request_name(spec.group_hash, spec.epoch)):
        return f"its name must be {name}"
    namespace = request.policy.namespace or spec.policy.request_namespace or group.get("namespace")
    if request.namespace != namespace:
        return f"its policy makes it in namespace {namespace}"
    return ""
