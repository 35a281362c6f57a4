"""Reasons of the webhook: why it refuses a post."""

from stormfold.api.reason import Reason


class WebhookReason(Reason):
    """Of an answer that refuses a post."""

    INVALID_BODY = (
        "InvalidBody",
        "Webhook answers 400",
        (
            "The body is not what Alertmanager or Grafana sends: a JSON object with `version` and a list of"
            " `alerts`."
        ),
    )
    UNSUPPORTED_PAYLOAD_VERSION = (
        "UnsupportedPayloadVersion",
        "Webhook answers 400",
        "The `version` of the body must be `4` (Alertmanager) or `1` (Grafana).",
    )
    NO_ALERT_USABLE = (
        "NoAlertUsable",
        "Webhook answers 400",
        "stormfold rejects every alert of the body. The list `rejected` says why.",
    )
    NOT_AUTHENTICATED = (
        "NotAuthenticated",
        "Webhook answers 401",
        (
            "The bearer token is missing, unknown, or made for another audience. See [who may post "
            "what](alertmanager.md#who-may-post-what)."
        ),
    )
    NO_SUCH_ENDPOINT = (
        "NoSuchEndpoint",
        "Webhook answers 404 or 405",
        (
            "Send alerts by POST to `/v1/alertmanager`. Prometheus and vmalert send to an Alertmanager, not"
            " here."
        ),
    )
    BODY_TOO_SLOW = (
        "BodyTooSlow",
        "Webhook answers 408",
        "The whole body did not arrive within 5 s.",
    )
    BODY_TOO_LARGE = (
        "BodyTooLarge",
        "Webhook answers 413",
        (
            "The body is larger than 8 MiB. Add labels to `group_by` of the sender's route, so that fewer "
            "alerts travel together."
        ),
    )
    TOO_MANY_ALERTS = (
        "TooManyAlerts",
        "Webhook answers 413",
        "The body has more than 20,000 alerts. Add labels to `group_by` of the sender's route.",
    )
    UNSUPPORTED_MEDIA_TYPE = (
        "UnsupportedMediaType",
        "Webhook answers 415",
        "Send the body as `application/json` in UTF-8, without compression.",
    )
    TOO_MANY_POSTS_OF_CALLER = (
        "TooManyPostsOfCaller",
        "Webhook answers 429",
        ("This sender has too many posts under way: at most half of what others leave. Send the post again."),
    )
    TOO_MANY_POSTS = (
        "TooManyPosts",
        "Webhook answers 503",
        "Too many posts are under way. Send the post again.",
    )
    INTERNAL_ERROR = (
        "InternalError",
        "Webhook answers 500",
        "stormfold failed. Its log says how: please report it.",
    )
    NOT_SERVING = (
        "NotServing",
        "Webhook answers 503",
        ("This replica starts or stops, or cannot reach Redis; the message says which. Send the post again."),
    )
    REVIEW_UNAVAILABLE = (
        "ReviewUnavailable",
        "Webhook answers 503",
        "The API server did not answer whose token it is, or what it may do. Send the post again.",
    )
    NOT_DURABLE_IN_TIME = (
        "NotDurableInTime",
        "Webhook answers 503",
        "Some alerts were not in a request in time. Send the post again: each alert counts once.",
    )
