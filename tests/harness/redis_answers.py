"""What Redis answers when it refuses, and what stormfold is to do then."""

from __future__ import annotations

from stormfold.fold.errors import (
    StoreConfigError,
    StoreContentError,
    StoreFullError,
    StoreMovedError,
    StoreUnavailableError,
)

AGAIN, ANEW, SLOWER, STOP = StoreUnavailableError, StoreMovedError, StoreFullError, StoreConfigError
ANSWERS = {
    "LOADING Redis is loading the dataset in memory": AGAIN,
    "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.": AGAIN,
    "UNKILLABLE Sorry the script already executed write commands against the dataset.": AGAIN,
    "CLUSTERDOWN The cluster is down": AGAIN,
    "TRYAGAIN Multiple keys request during rehashing of slot": AGAIN,
    "NOREPLICAS Not enough good replicas to write.": AGAIN,
    "MISCONF Errors writing to the AOF file: No space left on device": AGAIN,
    "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)": AGAIN,
    "EXECABORT Transaction discarded because of previous errors.": AGAIN,
    "INPROG Failover already in progress": AGAIN,
    "ERR max number of clients reached": AGAIN,
    "ERR Script killed by user with SCRIPT KILL. script: 4ca2, on @user_script:1.": AGAIN,
    "ERR max number of clients + cluster connections reached": AGAIN,
    "READONLY You can't write against a read only replica.": ANEW,
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.": ANEW,
    "MOVED 3999 127.0.0.1:6381": ANEW,
    "ASK 3999 127.0.0.1:6381": ANEW,
    "REDIRECT 127.0.0.1:6381": ANEW,
    "OOM command not allowed when used memory > 'maxmemory'.": SLOWER,
    "NOAUTH Authentication required.": STOP,
    "WRONGPASS invalid username-password pair or user is disabled.": STOP,
    "NOPERM this user has no permissions to run the 'evalsha' command": STOP,
    "NOSCRIPT No matching script. Please use EVAL.": STOP,
    "CROSSSLOT Keys in request don't hash to the same slot": STOP,
    "WRONGTYPE Operation against a key holding the wrong kind of value": StoreContentError,
    "ERR user_script:77: attempt to perform arithmetic on a string value": StoreContentError,
    "BUSYKEY Target key name already exists.": STOP,
    "DENIED Redis is running in protected mode": STOP,
    "NOPROTO unsupported protocol version": STOP,
    "ERR unknown command 'EVALSHA'": STOP,
    "ERR DB index is out of range": STOP,
}
"""What Redis answers, and what to do."""
