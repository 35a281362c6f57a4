"""Limits: numbers that scripts and Python share. `fold.scripts` gives them to the scripts that name them."""

SERVER_CHARACTERS = 4
"""So many characters at the end of an incarnation name the server that counted it."""
WRITE_INTERVAL_MS = 1000
"""A request is written at most so often while signals come."""
MAX_INSTANCES = 512
"""Instances of a storm that are known one by one: what a set keeps as packed integers."""
KNOWN_ALERTS = 4096
"""Alerts of a storm that Redis knows one by one; as many Events of a group."""
BEYOND_BITS = 2**19
"""Bits of the Bloom filter that notes the alerts beyond those: 64 KiB for a group that has so many. Where
10,000 are noted, it takes 1 of 600,000 new ones for one of them; where 50,000 are, 1 of 140."""
KNOWN_SIGNALS = 16_384
"""Signals of a storm that are known one by one, of those that its request holds: the newest."""
LISTED_ALERTS = 1000
"""Alerts of a storm that its request knows one by one."""
RESOLVED_MS = 600_000
"""An alert that has resolved stays known to the next request of its group if it was heard of so lately."""
MINUTE_MS = 60_000
FIRST_SAMPLES = 3
LATEST_SAMPLES = 2
"""So many samples of a storm are of its first signals, and so many of its latest."""
RUNBOOK_BYTES = 1024
"""With so many bytes of URLs of runbooks that its request does not hold, a storm takes no more."""
EVIDENCE_FIELDS = 42
"""With so many fields that its request does not hold, a storm takes no more of what may explain it."""
SEEN_SIGNALS = 50
"""So many signals of a storm tell others how common values are: more would make a large one drown them."""
SEEN_STORMS = 16
"""So many storms of a partition tell it in half an hour."""
SEEN_SECONDS = 3600
"""How long that is kept."""
COUNTED_NAMES = 20
"""Names of a storm's signals that are counted one by one; half of them are shown."""
FRESH_MS = 5000
"""An Event that happened less than this ago counts as one of now: its time has whole seconds."""
PATIENT_MS = 5000
"""A post waits for a request that is made so soon after the first signal of its group; one with a longer
`groupWait` is pending."""
REMEMBER_SECONDS = 7 * 24 * 3600
"""How long the epoch of a closed storm stays in Redis. Only garbage collection: after it, the request's own
epoch counts."""
KNOW_SECONDS = 24 * 3600
"""How long the alerts and Events of a closed storm are known one by one; each repeat of one begins it
anew."""
