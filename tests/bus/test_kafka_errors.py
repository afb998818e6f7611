"""From the client's errors to the port's."""

import pytest
from kafka import errors

from bus import kafka_errors, port

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (errors.ProducerFencedError(), port.Fenced),
        (errors.InvalidProducerEpochError(), port.Fenced),
        (errors.CommitFailedError(), port.Fenced),
        (errors.UnknownMemberIdError(), port.Fenced),
        (errors.IllegalGenerationError(), port.Fenced),
        (errors.TopicAuthorizationFailedError("t"), port.Misconfigured),
        (errors.TransactionalIdAuthorizationFailedError(), port.Misconfigured),
        (errors.SaslAuthenticationFailedError(), port.Misconfigured),
        (errors.UnsupportedVersionError(), port.Misconfigured),
        (errors.MessageSizeTooLargeError(), port.RecordTooLarge),
        (errors.KafkaTimeoutError(), port.Unavailable),
        (errors.KafkaConnectionError(), port.Unavailable),
        (errors.NotEnoughReplicasError(), port.Unavailable),
        (errors.NodeNotReadyError(), port.Unavailable),
        (errors.KafkaError(f"{kafka_errors.UNANSWERED} for unknown reasons"), port.Unavailable),
        (ConnectionResetError(), port.Unavailable),
        (errors.KafkaError(errors.ProducerFencedError()), port.Fenced),
        (errors.KafkaError("because", errors.KafkaTimeoutError()), port.Unavailable),
    ],
)
def test_each_error_has_its_fate(theirs: BaseException, ours: type[port.LogError]) -> None:
    """An error is retryable, another owner's, or a person's to mend; wrapped ones as well."""
    translated = kafka_errors.translate(theirs, doing="testing")
    assert type(translated) is ours
    assert str(translated).startswith("testing: ")


def test_an_unforeseen_error_ends_the_process() -> None:
    """What nobody thought of is none of the kinds that anyone goes on from."""
    translated = kafka_errors.translate(errors.CorruptRecordError(), doing="testing")
    assert type(translated) is port.LogError


def test_patience_ends_with_another_error() -> None:
    """Asking again is for unreachable brokers only."""
    asked = []

    def ask() -> None:
        asked.append(1)
        raise errors.KafkaTimeoutError if len(asked) < 3 else errors.InvalidTopicError

    with pytest.raises(port.Misconfigured):
        kafka_errors.patiently(ask, doing="testing")
    assert len(asked) == 3
