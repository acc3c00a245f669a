// Tunnels to other hosts and the routes that lead there, over simulated kernels that fail at any moment.
#include <gtest/gtest.h>

#include "sim/kept_host.h"

namespace ocicat::test {
namespace {

// A host with a VXLAN interface, and others at the ends of its tunnels with a block each.
class TunnelledHost : public KeptHost {
 public:
  explicit TunnelledHost(std::uint64_t seed) : KeptHost(seed) {
    tunnels.parents[kOwn] = {2, 1500};
    settings.overlays.vxlan4 = true;
    devices[0] = VxlanDevice{.end = {vtep(1), mac(1)}, .host = kOwn, .vni = 4096, .port = 4789};
    HostChanges changes;
    changes.settings = settings;
    changes.vxlan = devices;
    keeper.take(changes);
    // The interface is there for the routes as soon as it is for the tunnels.
    tunnels.fail_when = routes.fail_when = [this](int) {
      follow_links();
      return before_each_call ? before_each_call() : std::nullopt;
    };
    EXPECT_TRUE(keeper.attempt()) << keeper.report().error;
  }

  static IpAddress vtep(std::uint32_t number) { return IpAddress::v4(0x0a420000U + number); }
  static MacAddress mac(std::uint32_t number) {
    return {{0x66, 0, 0, 0, 0, static_cast<std::uint8_t>(number)}};
  }
  static Prefix block(std::uint32_t number) { return {IpAddress::v4(0x0a430000U + number * 64), 26}; }

  static HostChanges there(std::uint32_t number, std::uint32_t end) {
    HostChanges changes;
    changes.peers.update(other(number), network::Peer{.vtep = network::Vtep{vtep(end), mac(end)}});
    changes.routes.update(block(number), Route{Route::Kind::kVxlan, "", vtep(end)});
    return changes;
  }
  static HostChanges gone(std::uint32_t number) {
    HostChanges changes;
    changes.peers.remove(other(number));
    changes.routes.remove(block(number));
    return changes;
  }
  bool attempt(const HostChanges& changes) {
    keeper.take(changes);
    return keeper.attempt();
  }

  bool leads(std::uint32_t number, std::uint32_t end) {
    auto ways = ways_to(number);
    if (tunnels.devices.empty() || ways.size() != 1) return false;
    const auto object = std::exchange(ways.front().object, 0);
    return ways.front() == way(number, end) && routes.hop_by_number.contains(object);
  }
  bool drops(std::uint32_t number) {
    const auto ways = ways_to(number);
    return ways.size() == 1 && ways.front().blackhole;
  }
  // Whether packets for it go by the routes of others.
  bool leaves_untunnelled(std::uint32_t number) { return ways_to(number).empty(); }
  // Whether the kernel knows the end that each route into the tunnel leads to.
  bool all_lead_to_an_end() {
    return std::ranges::all_of(ours(), [&](const kernel::KernelRoute& route) {
      const auto device = tunnels.devices.find(route.link);
      if (device == tunnels.devices.end()) return true;
      const auto& [mac_by_address, host_by_mac] =
          std::tie(device->second.mac_by_address, device->second.host_by_mac);
      const auto at = mac_by_address.find(*route.gateway);
      return at != mac_by_address.end() && host_by_mac.contains(at->second);
    });
  }
  const kernel::SimulatedTunnels::Device& device() const { return tunnels.devices.begin()->second; }

  HostSettings settings;
  VxlanDevices devices;
  std::function<std::optional<Error>()> before_each_call;
  HostKeeper keeper{kernels(), {}};

 private:
  static IpAddress other(std::uint32_t number) { return IpAddress::v4(0xc0000300U + number); }
  std::set<kernel::KernelRoute>& ours() { return routes.routes_by_protocol[80]; }
  kernel::KernelRoute way(std::uint32_t number, std::uint32_t end) const {
    return {block(number), tunnels.devices.begin()->first, vtep(end), dataplane::kRouteMetric};
  }
  std::vector<kernel::KernelRoute> ways_to(std::uint32_t number) {
    std::vector<kernel::KernelRoute> ways;
    std::ranges::copy_if(ours(), std::back_inserter(ways),
                         [&](const auto& route) { return route.destination == block(number); });
    return ways;
  }
  // As the kernel does: an interface that goes takes its routes along.
  void follow_links() {
    std::erase_if(routes.link_by_index, [&](const auto& link) {
      return link.second.name == kName && !tunnels.devices.contains(link.first);
    });
    for (const auto& [index, device] : tunnels.devices)
      routes.link_by_index[index] = {.index = index, .name = kName, .up = device.link.up};
    routes.flush();
  }

  const IpAddress kOwn = address("192.0.2.254");
  const std::string kName = dataplane::vxlan_name(Family::kIpv4);
};

TEST(Tunnels, AHostThatChangesCostsWhatItChangesAndNoLookAtTheOthers) {
  TunnelledHost host(1);
  HostChanges all;
  for (std::uint32_t number = 2; number < 200; ++number) {
    const auto one = TunnelledHost::there(number, number);
    all.peers.absorb(one.peers);
    all.routes.absorb(one.routes);
  }
  ASSERT_TRUE(host.attempt(all)) << host.keeper.report().error;
  const auto dumps = host.routes.dumps;
  const auto writes = host.keeper.report().kernel_writes;
  const auto changes = host.tunnels.changes;
  int calls = 0;
  host.tunnels.fail_when = [&](int) {
    ++calls;
    return std::nullopt;
  };
  ASSERT_TRUE(host.attempt(TunnelledHost::there(7, 207)));
  EXPECT_EQ(host.tunnels.changes - changes, 4U);
  EXPECT_TRUE(host.leads(7, 207));
  EXPECT_EQ(host.keeper.report().kernel_writes - writes, 8U)
      << "two of the end, one of its object and one of its block, twice";
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(host.routes.dumps, dumps);
  // A change that is none of a host's.
  HostChanges pod;
  pod.endpoints.update(pod_key(0), {interface_of(0), {{pod_address(0), ProgramId{1}, ProgramId{1}}}});
  ASSERT_TRUE(host.attempt(pod));
  EXPECT_EQ(calls, 4);
  EXPECT_EQ(host.routes.dumps, dumps);
}

// Somebody else's route in the place of one of ours stays for good.
TEST(Tunnels, AnInterfaceIsMadeAnewWhateverElseTheKernelRefuses) {
  TunnelledHost host(1);
  ASSERT_TRUE(host.attempt(TunnelledHost::there(2, 2))) << host.keeper.report().error;
  const auto taken = TunnelledHost::block(9);
  host.routes.refuse = [&](const kernel::KernelRoute& route) {
    return route.destination == taken ? std::optional(Error{ErrorCode::kAlreadyExists, "another's"})
                                      : std::nullopt;
  };
  HostChanges changes;
  changes.routes.update(taken, Route{Route::Kind::kNowhere, "", {}});
  EXPECT_FALSE(host.attempt(changes));
  host.devices[0]->vni = 4097;
  changes = {};
  changes.vxlan = host.devices;
  EXPECT_FALSE(host.attempt(changes));
  EXPECT_EQ(host.device().link.config.vni, 4097U);
  EXPECT_TRUE(host.leads(2, 2));
}

TEST(Tunnels, OfFiveThousandHostsAreFoundInPlaceByTheNextAgentWhichWritesOnlyWhatChanges) {
  constexpr std::uint32_t kHosts = 5'000, kBlocks = 4;
  const auto mac = [](std::uint32_t number) {
    return MacAddress{
        {0x66, 0, 0, 0, static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)}};
  };
  const auto add = [&](HostChanges& changes, std::uint32_t number, std::uint32_t end) {
    const auto vtep = TunnelledHost::vtep(end);
    changes.peers.update(IpAddress::v4(0xac100000U + number),
                         network::Peer{.vtep = network::Vtep{vtep, mac(end)}});
    for (std::uint32_t block = 0; block < kBlocks; ++block) {
      changes.routes.update({IpAddress::v4(0x0b000000U + (number * kBlocks + block) * 64), 26},
                            Route{Route::Kind::kVxlan, "", vtep});
    }
  };
  TunnelledHost host(1);
  HostChanges all;
  all.settings = host.settings;
  all.vxlan = host.devices;
  for (std::uint32_t number = 2; number < 2 + kHosts; ++number) add(all, number, number);
  ASSERT_TRUE(host.attempt(all)) << host.keeper.report().error;
  EXPECT_EQ(host.device().host_by_mac.size(), kHosts);
  HostKeeper next(host.kernels(), {});
  next.take(all);
  ASSERT_TRUE(next.attempt()) << next.report().error;
  EXPECT_EQ(next.report().kernel_writes, 0U);
  EXPECT_EQ(next.report().routes_ready, kHosts * kBlocks);
  HostChanges one;
  add(one, 7, 7'000);
  next.take(one);
  ASSERT_TRUE(next.attempt()) << next.report().error;
  EXPECT_EQ(next.report().kernel_writes, 2 * kBlocks + 6)
      << "of each block, of the object, and of both sides of the end";
}

TEST(Tunnels, ARouteToAnEndThatCouldNotBeWrittenIsABlackholeUntilItIs) {
  TunnelledHost host(1);
  int calls = 0;
  host.before_each_call = [&] {
    return ++calls == 1 ? std::optional(Error{ErrorCode::kExhausted, "no room for entries"}) : std::nullopt;
  };
  auto changes = TunnelledHost::there(2, 2);
  changes.peers.absorb(TunnelledHost::there(3, 3).peers);
  changes.routes.absorb(TunnelledHost::there(3, 3).routes);
  EXPECT_FALSE(host.attempt(changes));
  EXPECT_NE(host.keeper.report().error.find("no room for entries"), std::string::npos);
  EXPECT_TRUE(host.drops(2));
  EXPECT_TRUE(host.keeper.lacks_route(TunnelledHost::block(2)));
  EXPECT_TRUE(host.leads(3, 3)) << "that of another end";
  EXPECT_TRUE(host.keeper.attempt()) << host.keeper.report().error;
  EXPECT_TRUE(host.leads(2, 2));
  EXPECT_FALSE(host.keeper.lacks_route(TunnelledHost::block(2)));
}

TEST(Tunnels, AnEndStaysUntilNoRouteLeadsThere) {
  TunnelledHost host(1);
  ASSERT_TRUE(host.attempt(TunnelledHost::there(2, 2)));
  host.routes.fail_when = [](int) { return std::optional(kNoMemory); };
  EXPECT_FALSE(host.attempt(TunnelledHost::gone(2)));
  EXPECT_TRUE(host.leads(2, 2));
  EXPECT_TRUE(host.all_lead_to_an_end());
  host.routes.fail_when = {};
  EXPECT_TRUE(host.keeper.attempt()) << host.keeper.report().error;
  EXPECT_TRUE(host.leaves_untunnelled(2)) << "it is nobody's any more";
  EXPECT_TRUE(host.device().mac_by_address.empty());
  EXPECT_TRUE(host.device().host_by_mac.empty());
}

TEST(Tunnels, ARouteIsABlackholeWhereNobodyKnowsTheEnd) {
  TunnelledHost host(1);
  auto changes = TunnelledHost::there(2, 2);
  changes.routes.update(TunnelledHost::block(2), Route{Route::Kind::kVxlan, "", {}});
  ASSERT_TRUE(host.attempt(changes)) << host.keeper.report().error;
  EXPECT_TRUE(host.drops(2));
  EXPECT_TRUE(host.keeper.lacks_route(TunnelledHost::block(2)));
  ASSERT_TRUE(host.attempt(TunnelledHost::there(2, 2)));
  EXPECT_TRUE(host.leads(2, 2));
  HostChanges without;
  without.peers = TunnelledHost::gone(2).peers;
  ASSERT_TRUE(host.attempt(without));
  EXPECT_TRUE(host.drops(2)) << "the end has gone, and the route is wanted";
}

TEST(Tunnels, ARouteThatTheKernelRefusesIsABlackholeMeanwhile) {
  TunnelledHost host(1);
  host.routes.refuse = [&](const kernel::KernelRoute& route) {
    return route.blackhole ? std::nullopt : std::optional(kNoMemory);
  };
  EXPECT_FALSE(host.attempt(TunnelledHost::there(2, 2)));
  EXPECT_TRUE(host.drops(2));
  EXPECT_FALSE(host.keeper.attempt());
  EXPECT_TRUE(host.drops(2)) << "as it has been there";
  host.routes.refuse = {};
  EXPECT_TRUE(host.keeper.attempt()) << host.keeper.report().error;
  EXPECT_TRUE(host.leads(2, 2));
}

TEST(Tunnels, WhatIsThereStaysWhileAnAgentThatStartsCannotReadIt) {
  TunnelledHost host(1);
  auto all = TunnelledHost::there(2, 2);
  all.settings = host.settings;
  all.vxlan = host.devices;
  ASSERT_TRUE(host.attempt(all));
  HostKeeper next(host.kernels(), {});
  int calls = 0;
  // One call of the tunnels after the other.
  for (int fails = 1;; ++fails) {
    calls = 0;
    host.tunnels.fail_when = [&](int) { return ++calls == fails ? std::optional(kNoMemory) : std::nullopt; };
    HostKeeper starting(host.kernels(), {});
    const auto changes = host.tunnels.changes;
    starting.take(all);
    const bool done = starting.attempt();
    ASSERT_TRUE(host.leads(2, 2)) << "call " << fails << ": " << starting.report().error;
    EXPECT_EQ(starting.report().kernel_writes, 0U);
    EXPECT_EQ(host.tunnels.changes, changes);
    if (done) break;
  }
  EXPECT_GT(calls, 3);
}

TEST(Tunnels, AnInterfaceThatMustBeAnotherGoesWhenNoRouteLeadsThroughIt) {
  TunnelledHost host(1);
  ASSERT_TRUE(host.attempt(TunnelledHost::there(2, 2)));
  const auto before = host.tunnels.devices.begin()->first;
  std::size_t dropped = 0;
  host.before_each_call = [&]() -> std::optional<Error> {
    EXPECT_FALSE(host.leaves_untunnelled(2));
    dropped += host.drops(2);
    return std::nullopt;
  };
  host.devices[0]->vni = 5000;
  HostChanges changes;
  changes.vxlan = host.devices;
  ASSERT_TRUE(host.attempt(changes)) << host.keeper.report().error;
  EXPECT_NE(host.tunnels.devices.begin()->first, before);
  EXPECT_EQ(host.device().link.config.vni, 5000U);
  EXPECT_TRUE(host.leads(2, 2));
  EXPECT_GT(dropped, 0U);
  // And where the host is no more at an end itself.
  changes.vxlan = VxlanDevices{};
  ASSERT_TRUE(host.attempt(changes)) << host.keeper.report().error;
  EXPECT_TRUE(host.tunnels.devices.empty());
  EXPECT_TRUE(host.drops(2));
}

TEST(Tunnels, PropertyPacketsAreTunnelledToAKnownEndOrDroppedAtEveryMomentWhateverFails) {
  const auto seed = any_seed();
  SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
  TunnelledHost host(seed);
  auto& random = host.random;
  std::map<std::uint32_t, std::uint32_t> wanted;
  std::set<std::uint32_t> held;  // wanted by now and before, and written once
  bool fails = false;
  std::size_t failed = 0;
  std::function<std::optional<Error>()> before;
  host.before_each_call = [&] {
    EXPECT_TRUE(host.all_lead_to_an_end());
    for (const auto number : held) EXPECT_FALSE(host.leaves_untunnelled(number));
    const bool now = fails && random.percent(10);
    failed += now;
    return now ? std::optional(kNoMemory) : std::nullopt;
  };
  for (int round = 0; round < 300; ++round) {
    ASSERT_EQ(std::exchange(host.routes.routes_lost, 0), 0) << "with an object";
    if (random.percent(10) && !host.routes.hop_by_number.empty()) {
      // Somebody takes one away, and the kernel all that lead by it.
      const auto hop = host.routes.hop_by_number.begin()->second.second;
      held.clear();
      before = std::exchange(host.before_each_call, {});
      ASSERT_TRUE(host.routes.remove({hop}));
      host.before_each_call = before;
      host.routes.routes_lost = 0;
      host.keeper.doubt({.routes = true});
    }
    const auto number = static_cast<std::uint32_t>(2 + random.below(8));
    HostChanges changes;
    if (random.percent(10)) {
      host.devices[0]->vni = static_cast<std::uint32_t>(4096 + random.below(3));
      changes.vxlan = host.devices;
    } else if (random.percent(40)) {
      changes = TunnelledHost::gone(number);
      wanted.erase(number);
      held.erase(number);
    } else {
      const auto end = static_cast<std::uint32_t>(2 + random.below(8));
      const bool taken = std::ranges::any_of(wanted, [&](const auto& w) { return w.second == end; });
      if (taken) continue;
      changes = TunnelledHost::there(number, end);
      wanted[number] = end;
    }
    fails = random.percent(50);
    (void)host.attempt(changes);
    if (random.percent(30))
      host.keeper.doubt({.routes = random.percent(50), .links = {.all = random.percent(50)}});
    (void)host.keeper.attempt();
    if (random.percent(50)) continue;
    fails = false;
    ASSERT_TRUE(host.keeper.attempt()) << host.keeper.report().error;
    ASSERT_TRUE(host.all_lead_to_an_end());
    ASSERT_EQ(host.device().host_by_mac.size(), wanted.size());
    ASSERT_EQ(host.device().mac_by_address.size(), wanted.size());
    ASSERT_EQ(host.routes.hop_by_number.size(), wanted.size());
    for (const auto& [other, end] : wanted) {
      ASSERT_TRUE(host.leads(other, end));
      held.insert(other);
    }
  }
  EXPECT_GT(failed, 0U);
}

}  // namespace
}  // namespace ocicat::test
