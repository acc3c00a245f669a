"""What comes in must come from where a route of the host's leads, if it is the host that it comes to."""
import pytest

NETS = {4: ("198.18.0.1/24", "198.18.0.2/24"), 6: ("fd18::1/64", "fd18::2/64")}


@pytest.fixture(scope="module")
def lab(make_lab, dataplane):
    return make_lab(2, dataplane)


@pytest.mark.parametrize("family", [4, 6])
def test_a_device_on_top_of_the_uplink_is_reached_where_the_host_has_no_route(lab, dataplane, family):
    own, other = NETS[family]
    space = f"kid-{lab.name}-{family}"
    no_detection = "nodad" if family == 6 else ""
    lab.host_exec("host1", "sh", "-c",
                  f"ip netns add {space} && ip link add kid{family} link to-host2 type macvlan mode bridge && "
                  f"ip link set kid{family} netns {space} && ip -n {space} link set kid{family} up && "
                  f"ip -n {space} addr add {own} dev kid{family} {no_detection}")
    lab.host_exec("host2", "ip", "addr", "add", other, "dev", "to-host1", *no_detection.split())
    try:
        report = lab.host_exec("host2", "ping", "-c", "3", "-i", "0.2", "-W", "10", own.split("/")[0], check=False)
        assert ", 3 received" in report.stdout
    finally:
        lab.host_exec("host1", "ip", "netns", "del", space)
        lab.host_exec("host2", "ip", "addr", "del", other, "dev", "to-host1")
