// Packets in tunnels: carried to other hosts, taken from other hosts of the cluster alone.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "dataplane/overlay/vxlan.h"
#include "netns/agent_host.h"

namespace ocicat::test {
namespace {

using dataplane::Datapath;

constexpr std::uint16_t kPort = 4789;

class OverlayHost : public testing::TestWithParam<std::tuple<Datapath, Family>> {
 protected:
  Family family() const { return std::get<Family>(GetParam()); }
  bool v4() const { return family() == Family::kIpv4; }
  IpAddress of(const char* four, const char* six) const { return *IpAddress::parse(v4() ? four : six); }

  // The host at the other end is `outside`.
  HostChanges with_overlay() {
    auto changes = first_state(1);
    auto& overlays = changes.settings->overlays;
    (v4() ? overlays.vxlan4 : overlays.vxlan6) = true;
    add_pod(changes, "a", a_, kAllowAll, kAllowAll);
    changes.peers.update(bed_.outside().address(family()), network::Peer{.vtep = there_});
    return changes;
  }
  void add_device(HostChanges& changes) const {
    auto& devices = changes.vxlan.emplace();
    devices[v4() ? 0 : 1] = VxlanDevice{
        .end = here_, .host = Testbed::host_address(family()), .vni = 4096, .port = kPort, .mtu = 0};
    changes.routes.update(Prefix::host(far_), Route{Route::Kind::kVxlan, "", there_.address});
  }
  // Policy of the host itself, at its uplink, that denies all in this direction.
  static void protect_host(HostChanges& changes, policy::Direction direction) {
    HostEndpointState endpoint{.id = 1, .interface_name = "uplink"};
    const policy::ChainId chain{1};
    for (auto& chains : endpoint.chains)
      chains[policy::index_of({policy::ChainKind::kNormal, direction})] = chain;
    changes.host_endpoints.update({Kind::kHostEndpoint, "", "edge"}, endpoint);
    changes.tables.chains.update(chain,
                                 policy::Chain{.vocabulary = policy::VocabularyId{1}, .base = kDenyAll});
  }
  void start(HostChanges changes) {
    agent_.put(std::move(changes));
    agent_.await_revision(1);
  }
  void change(HostChanges changes) {
    changes.revisions[Kind::kPod].revision = ++revision_;
    agent_.put(std::move(changes));
    agent_.await_revision(revision_);
  }
  // What comes in behind our chains.
  void count_input(const std::string& what) {
    bed_.host().run([&] {
      shell(
          fmt::format("nft 'add table inet other; add counter inet other seen;"
                      "add chain inet other in {{ type filter hook input priority 50; }};"
                      "add rule inet other in {} counter name seen'",
                      what));
    });
  }
  int counted(const RawPacket& packet) {
    // Packets go one way, in order: what is known to pass tells that it has been dealt with.
    bed_.arriving(bed_.outside(), a_, {packet});
    return bed_.counted_by("other", "seen");
  }
  RawPacket to_host(const IpAddress& from, Protocol protocol, std::uint16_t port = 0) const {
    return probe(from, Testbed::host_address(family()), protocol, port);
  }
  const IpAddress& cluster() { return bed_.outside().address(family()); }
  IpAddress stranger() const { return of("203.0.113.9", "2001:db8:f::9"); }

  std::uint64_t revision_ = 1;
  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2", Testbed::Routes::kMissing);
  PinFolder pins_;
  AgentHost agent_{bed_, pins_.options(std::get<Datapath>(GetParam()))};
  network::Vtep here_{of("10.65.1.0", "fd00:65:1::"), *MacAddress::parse("66:00:00:00:00:01")};
  network::Vtep there_{of("10.65.2.0", "fd00:65:2::"), *MacAddress::parse("66:00:00:00:00:02")};
  IpAddress far_ = of("10.65.2.7", "fd00:65:2::7");  // a workload there
};

TEST_P(OverlayHost, CarriesPacketsToAWorkloadOfAnotherHostAndBack) {
  auto changes = with_overlay();
  add_device(changes);
  start(std::move(changes));
  const auto& name = dataplane::vxlan_name(family());
  bed_.outside().ns().run([&] {
    shell(fmt::format("ip link add {0} address {1} type vxlan id 4096 local {2} dstport {3} nolearning", name,
                      there_.mac.to_string(), cluster().to_string(), kPort));
    shell(fmt::format("ip link set {} up mtu {}", name, 1500 - dataplane::vxlan_overhead(family())));
    shell(fmt::format("ip addr add {} dev {} {}", Prefix::host(there_.address).to_string(), name,
                      v4() ? "" : "nodad"));
    shell(fmt::format("ip addr add {} dev lo {}", Prefix::host(far_).to_string(), v4() ? "" : "nodad"));
    shell(fmt::format("bridge fdb add {} dev {} dst {}", here_.mac.to_string(), name,
                      Testbed::host_address(family()).to_string()));
    shell(fmt::format("ip neigh add {} lladdr {} dev {} nud permanent", here_.address.to_string(),
                      here_.mac.to_string(), name));
    shell(fmt::format("ip route replace {} via {} dev {} onlink",
                      Prefix::host(a_.address(family())).to_string(), here_.address.to_string(), name));
  });
  for (const auto* station : {&a_, &bed_.outside()})
    station->ns().run([] { shell("nft delete table inet quiet"); });  // which keeps them from answering
  // Whole packets of the workload's own size as well: the tunnel's MTU leaves room.
  a_.ns().run([&] {
    // The kernel takes packets for an interface only after it has seen to its carrier, a second at most.
    shell(fmt::format("timeout 20 sh -c 'until ping -c 1 -W 1 {}; do sleep 0.05; done' > /dev/null 2>&1",
                      far_.to_string()));
    shell(fmt::format("ping -c 1 -W 20 -M do -s 1300 {} > /dev/null", far_.to_string()));
  });
  bed_.outside().ns().run([&] {
    shell(fmt::format("ping -c 1 -W 20 -I {} {} > /dev/null", far_.to_string(),
                      a_.address(family()).to_string()));
  });
}

// As where it has an address of a pool that needs no tunnel between the two, beside one that always has it.
TEST_P(OverlayHost, HasRoutesByATunnelsEndThatIsItselfReachedWithoutTheTunnel) {
  auto changes = with_overlay();
  const Route plain{Route::Kind::kHost, "", cluster()};
  const auto end = Prefix::host(there_.address);
  const auto around = *Prefix::parse(v4() ? "10.65.2.0/26" : "fd00:65:2::/122");
  changes.routes.update(end, plain);
  changes.routes.update(around, plain);
  start(std::move(changes));
  HostChanges tunnel;
  add_device(tunnel);
  change(std::move(tunnel));
  bed_.host().run([&] {
    const auto leads = [&](const IpAddress& address, const std::string& link) {
      shell(fmt::format("test \"$(ip -{} route show {} | grep -o 'dev [^ ]*')\" = 'dev {}'", v4() ? 4 : 6,
                        Prefix::host(address).to_string(), link));
    };
    leads(far_, std::string(dataplane::vxlan_name(family())));
    leads(there_.address, "uplink");
  });
}

TEST_P(OverlayHost, MendsWhatSomebodyElseTakesAway) {
  auto changes = with_overlay();
  add_device(changes);
  agent_.put(std::move(changes));
  const auto before = agent_.await_revision(1).kernel_writes;
  const auto& name = dataplane::vxlan_name(family());
  bed_.host().run([&] { shell(fmt::format("ip link del {}", name)); });
  // The interface, up, its address, two entries and the route.
  agent_.await([&](const dataplane::Report& report) {
    return report.error.empty() && report.kernel_writes >= before + 6;
  });
  bed_.host().run([&] {
    shell(fmt::format("bridge fdb show dev {} | grep -q '{} dst {}'", name, there_.mac.to_string(),
                      cluster().to_string()));
    shell(fmt::format("ip -{} route show {} | grep -q 'dev {}'", v4() ? 4 : 6, Prefix::host(far_).to_string(),
                      name));
  });
}

// Of which the kernel tells: nobody waits for the next reading.
TEST_P(OverlayHost, MendsEndsThatSomebodyElseTakesAwayAtOnce) {
  auto changes = with_overlay();
  add_device(changes);
  agent_.put(std::move(changes));
  agent_.await_revision(1);
  const auto& name = dataplane::vxlan_name(family());
  const auto mac = there_.mac.to_string(), host = cluster().to_string();
  const auto neighbour =
      fmt::format("ip -{} neigh show {} dev {}", v4() ? 4 : 6, there_.address.to_string(), name);
  std::uint64_t repairs = 0;
  for (const auto& taken : {fmt::format("bridge fdb del {} dev {} dst {} self", mac, name, host),
                            fmt::format("ip neigh flush dev {} nud permanent", name),
                            fmt::format("ip link set {0} down; ip link set {0} up", name)}) {
    bed_.host().run([&] { shell(taken); });
    repairs = agent_.await([&](const dataplane::Report& report) { return report.repairs > repairs; }).repairs;
    bed_.host().run([&] {
      shell(fmt::format(
          "timeout 10 sh -c 'until bridge fdb show dev {0} | grep -q \"{1} dst {2}\" && {3} | grep -q {1}; "
          "do sleep 0.02; done'",
          name, mac, host, neighbour));
    });
  }
}

TEST_P(OverlayHost, DropsWhatIsForATunnelThatHasNoEndByABlackhole) {
  const auto& name = dataplane::vxlan_name(family());
  const auto expect_route = [&](const std::string& start, const std::string& way) {
    bed_.host().run([&] {
      shell(
          fmt::format("test \"$(ip -{} route show proto 80 | grep -w {} | tee /dev/stderr | sed -E 's/ "
                      "nhid [0-9]+//; s/ +$//')\" = '{}{} {}'",
                      v4() ? 4 : 6, far_.to_string(), start, far_.to_string(), way));
    });
  };
  const auto comes_out_of_this_host = [&] {
    return !bed_.arriving(a_, bed_.outside(), {probe(a_.address(family()), far_, kUdp, 53)}).empty();
  };
  // The kernel takes packets for an interface only after it has seen to its carrier, a second at most.
  const auto await_coming_out = [&] {
    using Clock = std::chrono::steady_clock;
    const auto end = Clock::now() + std::chrono::seconds(20);
    while (!comes_out_of_this_host() && Clock::now() < end);
    EXPECT_LT(Clock::now(), end);
  };
  const auto dropped = v4() ? "metric 1024" : "dev lo metric 1024 pref medium";
  const auto tunnelled = fmt::format("via {} dev {} metric 1024{}", there_.address.to_string(), name,
                                     v4() ? " onlink" : " onlink pref medium");
  auto changes = with_overlay();
  add_device(changes);
  changes.routes.update(Prefix::host(far_), Route{Route::Kind::kVxlan, "", {}});
  start(changes);
  expect_route("blackhole ", dropped);
  EXPECT_FALSE(comes_out_of_this_host());
  HostChanges known;
  known.routes.update(Prefix::host(far_), Route{Route::Kind::kVxlan, "", there_.address});
  change(known);
  expect_route("", tunnelled);
  await_coming_out();
  HostChanges gone;
  gone.peers.remove(cluster());
  change(gone);
  expect_route("blackhole ", dropped);
  EXPECT_FALSE(comes_out_of_this_host());
  HostChanges back;
  back.peers.update(cluster(), network::Peer{.vtep = there_});
  change(back);
  expect_route("", tunnelled);
  await_coming_out();
}

INSTANTIATE_TEST_SUITE_P(All, OverlayHost,
                         testing::Combine(testing::Values(Datapath::kNftables, Datapath::kEbpf),
                                          testing::ValuesIn(kFamilies)));

using TunnelGuard = OverlayHost;

TEST_P(TunnelGuard, TakesVxlanFromHostsOfTheClusterAlone) {
  count_input(fmt::format("udp dport {}", kPort));
  start(with_overlay());
  EXPECT_EQ(counted(to_host(cluster(), kUdp, kPort)), 1);
  EXPECT_EQ(counted(to_host(stranger(), kUdp, kPort)), 0);
  HostChanges outsiders;
  outsiders.settings = with_overlay().settings;
  outsiders.settings->overlays.external_nodes = {Prefix::host(stranger())};
  change(outsiders);
  EXPECT_EQ(counted(to_host(stranger(), kUdp, kPort)), 1);
  HostChanges gone;
  gone.peers.remove(cluster());
  change(gone);
  EXPECT_EQ(counted(to_host(cluster(), kUdp, kPort)), 0);
  HostChanges off;
  off.settings.emplace();
  change(off);
  EXPECT_EQ(counted(to_host(stranger(), kUdp, kPort)), 1);
}

TEST_P(TunnelGuard, DoesNotTrackVxlan) {
  count_input(fmt::format("udp dport {} ct state untracked", kPort));
  start(with_overlay());
  EXPECT_EQ(counted(to_host(cluster(), kUdp, kPort)), 1);
}

// Needs policy of the host itself.
using TunnelsAndHostPolicy = OverlayHost;

TEST_P(TunnelsAndHostPolicy, LeaveThePortOfWireguardOpen) {
  auto changes = with_overlay();
  changes.settings->overlays.wireguard_ports[v4() ? 0 : 1] = 51820;
  protect_host(changes, policy::Direction::kIngress);
  count_input("udp dport { 51820, 51822 }");
  start(std::move(changes));
  EXPECT_EQ(counted(to_host(stranger(), kUdp, 51820)), 1);
  EXPECT_EQ(counted(to_host(stranger(), kUdp, 51822)), 0);
}

TEST_P(TunnelsAndHostPolicy, LetTunnelledPacketsOutToHostsOfTheClusterWhateverItSays) {
  auto changes = with_overlay();
  protect_host(changes, policy::Direction::kEgress);
  start(std::move(changes));
  const auto leaves = [&](const IpAddress& to, std::uint16_t port) {
    return !bed_.leaving_host(a_, {probe(Testbed::host_address(family()), to, kUdp, port)}).empty();
  };
  EXPECT_TRUE(leaves(cluster(), kPort));
  EXPECT_FALSE(leaves(cluster(), 53));
  EXPECT_FALSE(leaves(stranger(), kPort));
}

TEST_P(TunnelGuard, EndsPacketsForServicesThatNobodyServes) {
  const auto service = of("10.96.0.10", "fd00:96::10");
  const auto net = *Prefix::parse(v4() ? "10.96.0.0/12" : "fd00:96::/64");
  bed_.host().run([&] { shell(fmt::format("ip route add {} dev uplink", net.to_string())); });
  auto changes = with_overlay();
  changes.settings->service_nets = {net};
  start(changes);
  const auto looping = [&] { return probe(a_.address(family()), service, kUdp, 53); };
  EXPECT_TRUE(bed_.arriving(a_, bed_.outside(), {looping()}).empty());
  HostChanges disabled;
  disabled.settings = changes.settings;
  disabled.settings->service_loops = HostSettings::ServiceLoops::kForward;
  change(disabled);
  bed_.host().run([&] {
    shell(fmt::format("ip neigh replace {} lladdr 02:00:00:00:00:01 dev uplink nud permanent",
                      service.to_string()));
  });
  EXPECT_FALSE(bed_.arriving(a_, bed_.outside(), {looping()}).empty());
  HostChanges reject;
  reject.settings = changes.settings;
  reject.settings->service_loops = HostSettings::ServiceLoops::kReject;
  change(reject);
  EXPECT_TRUE(bed_.arriving(a_, bed_.outside(), {looping()}).empty());
  // Now the sender is told.
  a_.ns().run([&] {
    shell(
        fmt::format("python3 -c \"import socket\n"
                    "s = socket.socket(socket.{}, socket.SOCK_DGRAM)\n"
                    "s.settimeout(20)\n"
                    "s.connect(('{}', 53))\n"
                    "s.send(b'x')\n"
                    "try: s.recv(1)\n"
                    "except ConnectionRefusedError: pass\n"
                    "else: raise SystemExit(1)\"",
                    v4() ? "AF_INET" : "AF_INET6", service.to_string()));
  });
}

INSTANTIATE_TEST_SUITE_P(All, TunnelGuard,
                         testing::Combine(testing::Values(Datapath::kNftables, Datapath::kEbpf),
                                          testing::ValuesIn(kFamilies)));
INSTANTIATE_TEST_SUITE_P(All, TunnelsAndHostPolicy,
                         testing::Combine(testing::Values(Datapath::kNftables, Datapath::kEbpf),
                                          testing::ValuesIn(kFamilies)));

// IPIP carries IPv4 only.
using IpipGuard = OverlayHost;

TEST_P(IpipGuard, TakesIpipFromHostsOfTheClusterAlone) {
  count_input("meta l4proto 4");
  auto changes = with_overlay();
  changes.settings->overlays.ipip = true;
  start(std::move(changes));
  EXPECT_EQ(counted(to_host(cluster(), kIpInIp)), 1);
  EXPECT_EQ(counted(to_host(stranger(), kIpInIp)), 0);
}

// On a kernel that has it: ./do test-kernels runs these on some that do.
class IpipHost : public OverlayHost {
 protected:
  // Whether the kernel has it; the dataplane says so where it has not. What leaves the pools gets the host's address.
  bool start_ipip() {
    bool can = false;
    bed_.host().run([&] {
      can = std::system("{ ip link add tunl0 type ipip; ip link show tunl0; } > /dev/null 2>&1") == 0;
    });
    auto changes = with_overlay();
    changes.settings->overlays.ipip = true;
    auto& nat = changes.settings->nat;
    nat.sources = nat.inside = {*Prefix::parse("10.64.0.0/10")};
    changes.ipip.emplace(IpipDevice{.host = Testbed::host_address(family()), .address = {}, .mtu = 0});
    changes.routes.update(Prefix::host(far_), Route{Route::Kind::kIpip, "", cluster()});
    // Which keeps them from answering.
    for (const auto* station : {&a_, &bed_.outside()})
      station->ns().run([] { shell("nft delete table inet quiet"); });
    if (!can) {
      agent_.put(std::move(changes));
      const auto report = agent_.await([](const auto& one) { return !one.error.empty(); });
      EXPECT_NE(report.error.find("this kernel has no IPIP"), std::string::npos) << report.error;
      return false;
    }
    start(std::move(changes));
    bed_.outside().ns().run([&] {
      shell("ip link set tunl0 up mtu 1480");
      shell(fmt::format("ip addr add {}/32 dev lo", far_.to_string()));
      shell(fmt::format("ip route replace {}/32 via {} dev tunl0 onlink", a_.address(family()).to_string(),
                        Testbed::host_address(family()).to_string()));
    });
    return true;
  }
  // The kernel takes packets for an interface only after it has seen to its carrier, a second at most.
  void await_ping_from_a(const IpAddress& to) const {
    a_.ns().run([&] {
      shell(fmt::format("timeout 20 sh -c 'until ping -c 1 -W 1 {}; do sleep 0.05; done' > /dev/null 2>&1",
                        to.to_string()));
    });
  }
  void ping_from_a(const IpAddress& to, const std::string& how) const {
    a_.ns().run([&] { shell(fmt::format("ping -W 20 {} {} > /dev/null", how, to.to_string())); });
  }
  // Echo requests that come to the other host by this interface, by whom they are from.
  void count_requests(const std::string& interface) {
    bed_.outside().ns().run([&] {
      shell(fmt::format(
          "nft 'add table inet seen; add counter inet seen workload; add counter inet seen host;"
          "add chain inet seen in {{ type filter hook prerouting priority -300; }};"
          "add rule inet seen in iifname {0} icmp type echo-request ip saddr {1} counter name workload;"
          "add rule inet seen in iifname {0} icmp type echo-request ip saddr {2} counter name host'",
          interface, a_.address(family()).to_string(), Testbed::host_address(family()).to_string()));
    });
  }
  void expect_requests(const std::string& sender, int count) {
    bed_.outside().ns().run([&] {
      shell(fmt::format("nft reset counter inet seen {} | tee /dev/stderr | grep -q 'packets {} '", sender,
                        count));
    });
  }
};

TEST_P(IpipHost, CarriesPacketsToAWorkloadOfAnotherHostAndBackOrSaysThatTheKernelCannot) {
  if (!start_ipip()) return;
  await_ping_from_a(far_);
  count_requests("tunl0");
  // Whole packets of the workload's own size as well: the tunnel's MTU leaves room.
  ping_from_a(far_, "-c 1 -M do -s 1400");
  ping_from_a(far_, "-c 20 -i 0.01");
  expect_requests("workload", 21);
  expect_requests("host", 0);
  bed_.host().run([] { shell("ip -o link show tunl0 | grep -q 'mtu 1480'"); });
}

TEST_P(IpipHost, GivesWhatLeavesThePoolsItsOwnAddressWhetherTheKernelHasTheTunnelOrNot) {
  start_ipip();
  bed_.outside().ns().run([&] { shell(fmt::format("ip addr add {}/32 dev lo", stranger().to_string())); });
  count_requests("eth0");
  for (const auto& to : {stranger(), cluster()}) {
    ping_from_a(to, "-c 20 -i 0.01");
    expect_requests("host", 20);
    expect_requests("workload", 0);
  }
}

INSTANTIATE_TEST_SUITE_P(All, IpipHost,
                         testing::Combine(testing::Values(Datapath::kNftables, Datapath::kEbpf),
                                          testing::Values(Family::kIpv4)));
INSTANTIATE_TEST_SUITE_P(All, IpipGuard,
                         testing::Combine(testing::Values(Datapath::kNftables, Datapath::kEbpf),
                                          testing::Values(Family::kIpv4)));

// Calico accepts these only where OpenStack asks for it.
using HostServices = OverlayHost;

TEST_P(HostServices, ThatHandOutAddressesNamesAndMetadataAreOpenToNoWorkloadByThemselves) {
  count_input("udp dport { 53, 67, 547 }");
  auto changes = with_overlay();
  start(std::move(changes));
  for (const auto port : {std::uint16_t{53}, std::uint16_t{67}, std::uint16_t{547}}) {
    bed_.arriving(a_, bed_.outside(), {to_host(a_.address(family()), kUdp, port)});
  }
  EXPECT_EQ(counted(to_host(cluster(), kUdp, 9)), 0);
  HostChanges open;
  open.settings.emplace().endpoint_to_host = HostSettings::ToHost::kAccept;
  change(open);
  bed_.arriving(a_, bed_.outside(), {to_host(a_.address(family()), kUdp, 67)});
  EXPECT_EQ(counted(to_host(cluster(), kUdp, 9)), 1);
}

INSTANTIATE_TEST_SUITE_P(Nftables, HostServices,
                         testing::Combine(testing::Values(Datapath::kNftables),
                                          testing::ValuesIn(kFamilies)));

}  // namespace
}  // namespace ocicat::test
