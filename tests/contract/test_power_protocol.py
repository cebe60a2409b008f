from random import Random

import pytest

from dime.contract import power_protocol as protocol


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("nano", "alexnet", 691200000), "nano_alexnet_691200000.csv"),
        (("potato", "vit_b_16", -1), "potato_vit-b-16_-1.csv"),
        (("../../etc", "a b\0c", 5), "..-..-etc_a-b-c_5.csv"),
        (("n,ano", "é", 5), "n-ano_-_5.csv"),
    ],
)
def test_a_log_is_named_after_device_network_and_frequency(parts, name):
    assert protocol.log_name(*parts) == name


def test_the_offset_lies_within_its_bound_wherever_the_delay_arose():
    random = Random(0)
    for _ in range(1000):
        truth_ns = random.randrange(-(10**18), 10**18)
        there_ns, held_ns, back_ns = (random.randrange(0, 10**7) for _ in range(3))
        sent_ns = random.randrange(10**15)
        received_ns = sent_ns + there_ns + truth_ns
        exchange = (sent_ns, received_ns, received_ns + held_ns, sent_ns + there_ns + held_ns + back_ns)
        offset_ns, bound_ns = protocol.offset_ns(exchange)
        assert abs(offset_ns - truth_ns) <= bound_ns <= (there_ns + back_ns + 1) // 2


def test_equal_ways_give_the_very_offset():
    assert protocol.offset_ns((1000, 5300, 5310, 1610)) == (4000, 300)
