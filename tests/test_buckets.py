"""Token buckets, by hypothesis and at their edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ahtransport._buckets import Bucket, Buckets, Rate, Rates, address_key

NONE = Rate(0)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("not:an:address", "not:an:address"),
    ],
)
def test_what_an_address_counts_as(address: str, key: str) -> None:
    assert address_key(address) == key


@given(
    rate=st.integers(1, 1000),
    burst=st.integers(1, 1000),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 50)), max_size=50),
)
def test_what_is_taken_never_exceeds_burst_and_rate(rate: int, burst: int, steps: list[tuple[float, int]]) -> None:
    """Whoever waits as told takes at most the burst, what the time brought, and what the last one owes."""
    bucket = Bucket(Rate(rate, burst), 0.0)
    now = taken = 0.0
    for pause, count in steps:
        now += pause
        assert taken <= burst + rate * now + 50 + 1e-6
        now += bucket.take(count, now)
        taken += count
        assert taken <= burst + rate * now + 1e-6


def test_asking_takes_nothing_that_is_not_there() -> None:
    bucket = Bucket(Rate(2), 10.0)
    assert [bucket.ask(10.0) for _ in range(4)] == [0.0, 0.0, 0.5, 0.5]
    assert bucket.ask(10.5) == 0.0


def test_another_clock_begins_with_a_full_bucket() -> None:
    """That of the server's next run, which may begin anywhere."""
    bucket = Bucket(Rate(2, 3), 1000.0)
    assert bucket.take(10, 1000.0) == 3.5
    assert bucket.take(3, 10.0) == 0.0
    assert bucket.take(1, 10.0) == 0.5
    assert bucket.is_full(5.0)


def test_buckets_of_idle_addresses_are_forgotten() -> None:
    buckets = Buckets(Rate(1, 5))
    for number in range(100_000):
        buckets.of(number, number / 1000).ask(number / 1000)
    assert len(buckets) <= 4096
    buckets.of("late", 100.0).take(5, 100.0)
    assert buckets.of("late", 100.0).level == 0


def test_a_client_may_rest() -> None:
    """Patience begins anew after a second in which nothing had to be slowed down."""
    rates = Rates(Rate(10), NONE, NONE, NONE, patience=2)
    meter = rates.meter("192.0.2.1", 0.0)
    assert meter.messages(10, 0.0) == 0
    now = 0.0
    for _ in range(15):
        delay = meter.messages(1, now)
        assert meter.slow_down(delay, now) == pytest.approx(0.1)
        now += delay
    now += 1.5
    meter.messages(10, now)
    for _ in range(5):
        assert meter.slow_down(meter.messages(4, now), now) is not None
    assert meter.slow_down(meter.messages(20, now), now) is None


@pytest.mark.parametrize(
    ("messages", "bytes_", "limit"),
    [
        (5, 100, "message_rate"),
        (1, 100_000, "byte_rate"),
        (100, 1, "message_rate_per_address"),
        (1, 900_000, "byte_rate_per_address"),
    ],
)
def test_what_a_client_waits_for_longest(messages: int, bytes_: int, limit: str) -> None:
    rates = Rates(Rate(1, 4), Rate(1000), Rate(0.5, 40), Rate(100, 500_000), patience=0)
    meter = rates.meter("192.0.2.1", 0.0)
    meter.messages(messages, 0.0)
    meter.bytes(bytes_, 0.0)
    assert meter.limit(0.0) == limit


def test_no_pause_is_too_long_for_a_heartbeat() -> None:
    rates = Rates(NONE, Rate(16384), NONE, NONE, patience=0)
    meter = rates.meter("192.0.2.1", 0.0)
    assert meter.slow_down(meter.bytes(10_000_000, 0.0), 0.0) == 10.0
