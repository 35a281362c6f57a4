"""Where objects are on the API server."""

from stormfold.api.resource import GROUP, VERSION

GROUP_PATH = f"/apis/{GROUP}/{VERSION}"


def collection(plural: str, namespace: str = "") -> str:
    """All objects of one of our kinds, or those of a namespace."""
    return f"{GROUP_PATH}/namespaces/{namespace}/{plural}" if namespace else f"{GROUP_PATH}/{plural}"


def item(plural: str, name: str, namespace: str = "") -> str:
    """One object."""
    return f"{collection(plural, namespace)}/{name}"


def status(plural: str, name: str, namespace: str = "") -> str:
    """The status of one object."""
    return f"{item(plural, name, namespace)}/status"


def built_in(group: str, plural: str) -> str:
    """All objects of a kind that Kubernetes has at `v1`; the core group is empty."""
    return f"/apis/{group}/v1/{plural}" if group else f"/api/v1/{plural}"


def leases(namespace: str) -> str:
    """The Leases of a namespace."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def events(namespace: str = "") -> str:
    """The Events of a namespace, or all."""
    return f"/api/v1/namespaces/{namespace}/events" if namespace else "/api/v1/events"
