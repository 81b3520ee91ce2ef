"""Names, subnets and states of clusters."""

from pathlib import Path

import pytest

from e2e.cluster import paths
from e2e.cluster.errors import ClusterError
from e2e.cluster.local import layout


def test_a_subnet_that_a_cluster_or_a_route_has_is_not_given_out_again() -> None:
    routes = "default via 192.0.2.1 dev eth0\n10.247.1.0/30 dev x proto kernel\n"
    assert layout.first_free_index([], "") == 0
    assert layout.first_free_index([0, 2], routes) == 3


def test_subnet_ten_does_not_hide_subnet_one() -> None:
    assert layout.first_free_index([0], "10.247.10.0/30 dev hanse10") == 1


def test_no_subnet_left_is_an_error() -> None:
    with pytest.raises(ClusterError, match="too many clusters"):
        layout.first_free_index(range(1000), "")


def test_indexes_are_read_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANSE_CACHE", str(tmp_path))
    for name, text in (("a", '{"index": 4}'), ("b", '{"backend": "kind"}'), ("c", "half a fi")):
        path = layout.state_file(name)
        path.parent.mkdir(parents=True)
        path.write_text(text)
    assert layout.used_indexes() == {4}


def test_two_clusters_have_no_address_or_interface_in_common() -> None:
    first, second = (layout.Layout(f"c{i}", Path(f"/c{i}"), i) for i in range(2))
    for attribute in ("host_address", "node_address", "host_interface", "server", "kubeconfig", "containerd_socket"):
        assert getattr(first, attribute) != getattr(second, attribute)


def test_an_interface_name_fits_the_kernel() -> None:
    assert len(layout.Layout("x", Path("/x"), 250).host_interface) <= 15


@pytest.mark.parametrize("name", ["", "Dev", "a b", "-a", "a-", "../x", "a" * 21, "ä"])
def test_a_name_that_could_not_be_a_cgroup_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cluster name"):
        paths.check_name(name)


@pytest.mark.parametrize("name", ["a", "dev", "a-1", "a" * 20])
def test_plain_names_are_fine(name: str) -> None:
    assert paths.check_name(name) == name
