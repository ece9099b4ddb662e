"""Names in Consul: fleets stay apart, and metadata stays within Consul's limits."""

import pytest

from schedulerd.protocol import consul_names


def test_the_default_cluster_has_plain_names_and_others_have_a_prefix():
    assert consul_names.worker_service("default") == "workerd"
    assert consul_names.worker_service("west") == "west-workerd"
    assert consul_names.leader_key("west") == "schedulerd/west/leader"
    assert consul_names.ttl_check_id(consul_names.worker_service_id("u-1")) == "workerd-u-1-ttl"


def test_metadata_comes_back_as_it_went():
    meta = consul_names.worker_meta(
        worker_id="u", name="web", endpoint="h:1", slots=4, labels=["a=b", "ü"], version="1"
    )
    assert consul_names.labels_in(meta) == ("a=b", "ü")
    assert consul_names.slots_in(meta) == 4
    assert meta[consul_names.META_ENDPOINT] == "h:1"


@pytest.mark.parametrize(("length", "is_there"), [(254, True), (255, False)])
def test_labels_too_long_for_consul_are_left_to_the_inventory(length: int, is_there: bool):
    labels = ["ü" * length]  # two bytes each, and ["..."] around them: 512 with 254
    meta = consul_names.worker_meta(
        worker_id="u", name="w", endpoint="e:1", slots=1, labels=labels, version="1"
    )
    assert (consul_names.META_LABELS in meta) is is_there
    assert consul_names.labels_in(meta) == (tuple(labels) if is_there else ())


@pytest.mark.parametrize("text", ["", "null", "{", '"a"', "[1]", '[["a"]]', "[" * 100_000])
def test_labels_that_are_no_list_of_texts_are_none(text: str):
    assert consul_names.labels_in({consul_names.META_LABELS: text}) == ()


@pytest.mark.parametrize("text", ["", "-1", "4.0", "x", "²", "9" * 5000])
def test_slots_that_are_no_number_are_none(text: str):
    assert consul_names.slots_in({consul_names.META_SLOTS: text}) == 0
    assert consul_names.slots_in({}) == 0
