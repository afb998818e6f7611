"""Reading past grpc's own iterator gives what that gives, to the end and to the error."""

import threading

import grpc
import pytest
from grpc.experimental import ChannelOptions

from collector import relay_reading
from schemas.hubble import observer_pb2
from tests.collector import builders, observer

OPTIONS = [(ChannelOptions.SingleThreadedUnaryStream, 1)]


@pytest.fixture
def flows():
    with (
        observer.serving() as (steered, address),
        grpc.insecure_channel(address, options=OPTIONS) as channel,
    ):
        steered.emit(*builders.fresh(500))
        yield (
            steered,
            channel.unary_stream(
                "/observer.Observer/GetFlows",
                request_serializer=observer_pb2.GetFlowsRequest.SerializeToString,
            ),
        )


def test_the_installed_grpc_is_read_the_short_way(flows):
    """If this fails, grpc was changed: all works, and costs a quarter more."""
    call = flows[1](observer_pb2.GetFlowsRequest(number=1))
    assert relay_reading.is_known(call)
    list(call)


def test_a_finite_stream_is_read_to_its_end(flows):
    """Every message, in order, as grpc's iterator would have it."""
    request = observer_pb2.GetFlowsRequest(number=500)
    assert list(relay_reading.responses(flows[1](request))) == list(flows[1](request))


def test_an_error_at_the_end_is_raised(flows):
    """With its code, after the messages before it."""
    steered, ask = flows
    call = ask(observer_pb2.GetFlowsRequest(follow=True))
    read = relay_reading.responses(call)
    found = [next(read) for _ in range(501)]
    steered.break_streams()
    with pytest.raises(grpc.RpcError):
        found += list(read)
    assert len(found) == 501
    assert call.code() is grpc.StatusCode.UNAVAILABLE


def test_an_idle_stream_can_be_cancelled_from_another_thread(flows):
    """The reader comes back at once."""
    call = flows[1](observer_pb2.GetFlowsRequest(follow=True))
    read = relay_reading.responses(call)
    for _ in range(501):
        next(read)
    threading.Timer(0.1, call.cancel).start()
    with pytest.raises(grpc.RpcError):
        next(read)
    assert call.code() is grpc.StatusCode.CANCELLED


def test_a_server_that_is_not_there_is_an_error():
    """As with grpc's own iterator."""
    with grpc.insecure_channel("127.0.0.1:1", options=OPTIONS) as channel:
        ask = channel.unary_stream(
            "/observer.Observer/GetFlows",
            request_serializer=observer_pb2.GetFlowsRequest.SerializeToString,
        )
        call = ask(observer_pb2.GetFlowsRequest())
        with pytest.raises(grpc.RpcError):
            list(relay_reading.responses(call))
        assert call.code() is grpc.StatusCode.UNAVAILABLE


def test_any_other_iterable_is_simply_iterated():
    """Such as a call of a grpc that is made otherwise."""
    assert list(relay_reading.responses(iter([b"1", b"2"]))) == [b"1", b"2"]
