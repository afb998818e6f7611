"""From the errors of kafka-python to those of the port.

A retryable error of the client becomes Unavailable, another owner becomes Fenced, and what a person
must change becomes Misconfigured. What is none of these stays a bare LogError, which ends a
process.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from kafka import errors
from kafka.consumer.fetcher import RecordTooLargeError

from bus import port

PATIENCE_SECONDS = 5.0
"""How long a question to the brokers is asked again, such as while they restart."""
AGAIN_SECONDS = 0.1

UNANSWERED = "Could not execute transactional request"
"""How the client words that a coordinator did not answer in time; it keeps no cause."""

_Answer = TypeVar("_Answer")

_FENCED = (
    errors.ProducerFencedError,
    errors.InvalidProducerEpochError,
    errors.TransactionCoordinatorFencedError,
    errors.CommitFailedError,
    errors.UnknownMemberIdError,
    errors.IllegalGenerationError,
    errors.RebalanceInProgressError,
    errors.FencedInstanceIdError,
)
_MISCONFIGURED = (
    errors.AuthorizationError,
    errors.SaslAuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
    errors.SecurityDisabledError,
    errors.KafkaConfigurationError,
    errors.UnsupportedVersionError,
    errors.UnsupportedForMessageFormatError,
    errors.UnsupportedCodecError,
    errors.InvalidTopicError,
    errors.InvalidConfigurationError,
    errors.InvalidPartitionsError,
    errors.InvalidReplicationFactorError,
    errors.InvalidSessionTimeoutError,
    errors.InvalidTransactionTimeoutError,
    errors.InvalidGroupIdError,
    errors.InconsistentGroupProtocolError,
    errors.InvalidRecordError,
    errors.PolicyViolationError,
)
_TOO_LARGE = (
    errors.MessageSizeTooLargeError,
    errors.RecordListTooLargeError,
    RecordTooLargeError,
)
_UNAVAILABLE = (
    errors.RetriableError,
    errors.BrokerNotAvailableError,
    errors.StaleBrokerEpochError,
    errors.TransactionAbortedError,
    errors.TransactionAbortableError,
    # The broker forgot an idle producer: opening it anew is the cure.
    errors.InvalidProducerIdMappingError,
    errors.UnknownProducerIdError,
    errors.OutOfOrderSequenceNumberError,
    errors.InvalidTxnStateError,
    errors.UnknownBrokerIdError,
    OSError,
)


def translate(error: BaseException, *, doing: str) -> port.LogError:
    """Return the port's error for one of the client's, saying what was being done."""
    inner = error
    # The client wraps the cause of a failed transaction in a bare KafkaError.
    while type(inner) is errors.KafkaError and inner.args:
        wrapped = next((arg for arg in inner.args if isinstance(arg, BaseException)), None)
        if wrapped is None:
            break
        inner = wrapped
    text = f"{doing}: {inner}"
    if type(inner) is errors.KafkaError and UNANSWERED in str(inner):
        return port.Unavailable(text)
    for kinds, ours in (
        (_FENCED, port.Fenced),
        (_MISCONFIGURED, port.Misconfigured),
        (_TOO_LARGE, port.RecordTooLarge),
        (_UNAVAILABLE, port.Unavailable),
    ):
        if isinstance(inner, kinds):
            return ours(text)
    return port.LogError(text)


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn the client's errors into the port's. `doing` begins the message."""
    try:
        yield
    except (errors.KafkaError, OSError) as error:
        raise translate(error, doing=doing) from error


def patiently(ask: Callable[[], _Answer], *, doing: str) -> _Answer:
    """Return what `ask` returns, asking again for some seconds while no broker answers."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except (errors.KafkaError, OSError) as error:
            ours = translate(error, doing=doing)
            if not isinstance(ours, port.Unavailable) or time.monotonic() > deadline:
                raise ours from error
        time.sleep(AGAIN_SECONDS)
