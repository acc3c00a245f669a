#include "cni/service/service.h"

#include <fstream>

#include "cni/endpoint.h"
#include "cni/service/world_for_test.h"
#include "ipam/allocator.h"
#include "resources/decode.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

TEST(Service, GivesAnInterfaceAddressesAndAnEndpointAndTakesThemBack) {
  World world;
  Agent agent(world);
  const auto reply = agent.add("c1", "web");
  ASSERT_TRUE(reply.done) << reply.text;
  const auto result = json::parse(reply.text);
  EXPECT_EQ(result.at("ips").as_array().size(), 2U);
  EXPECT_EQ(result.at("interfaces").at(1).at("mtu").to_number<int>(), 1400);
  const auto endpoints = world.documents.list(Kind::kWorkloadEndpoint);
  ASSERT_EQ(endpoints.size(), 1U);
  EXPECT_EQ(endpoints[0].at("spec").at("containerID"), "c1");
  EXPECT_EQ(world.count_interfaces(), 1U);
  EXPECT_EQ(given(world), (std::vector<std::string>{"pods.c1", "pods.c1"}));
  EXPECT_TRUE(agent.del("c1", "web").done);
  expect_nothing(world);
}

TEST(Service, InterfacesFollowTheHostsMtuUnlessTheirConfigurationNamesOne) {
  World world;
  {
    Agent agent(world);
    ASSERT_TRUE(agent.add("c1", "web").done);
    ASSERT_TRUE(agent.call("ADD", "c2", "api", R"("mtu":1300)").done);
    world.mtu = 1350;
    world.mtu_changed();
    world.await_mtus(1);
  }
  world.mtu = 900;  // while no agent runs; IPv6 needs more
  Agent agent(world);
  world.await_mtus(2);
  EXPECT_EQ(world.mtus, (std::vector<std::pair<std::uint32_t, std::uint32_t>>{{1400, 1350}, {1350, 1280}}));
  EXPECT_TRUE(agent.del("c1", "web").done);
  EXPECT_TRUE(agent.del("c2", "api").done);
  expect_nothing(world);
}

TEST(Service, AddAndDelMayBeRepeated) {
  World world;
  Agent agent(world);
  const auto first = agent.add("c1", "web");
  const auto second = agent.add("c1", "web");
  ASSERT_TRUE(first.done && second.done) << second.text;
  EXPECT_EQ(first.text, second.text);
  EXPECT_EQ(given(world).size(), 2U);
  // An interface that somebody has taken away is made anew.
  world.lose_interfaces();
  EXPECT_TRUE(agent.add("c1", "web").done);
  EXPECT_EQ(world.count_interfaces(), 1U);
  EXPECT_EQ(given(world).size(), 2U);
  EXPECT_TRUE(agent.del("c1", "web").done);
  EXPECT_TRUE(agent.del("c1", "web").done);
  EXPECT_TRUE(agent.del("never-seen", "web").done);
  expect_nothing(world);
}

TEST(Service, ARepeatedAddFindsWhatSomebodyHasTakenAwayAndWaitsForPolicyAsTheFirst) {
  World world;
  Agent agent(world);
  ASSERT_TRUE(agent.add("c1", "web").done);
  {
    const std::scoped_lock lock(world.mutex);
    world.interfaces.begin()->second.pop_back();
  }
  ASSERT_TRUE(agent.add("c1", "web").done);
  EXPECT_EQ(world.interfaces.begin()->second.size(), 2U);
  const auto endpoint = world.documents.list(Kind::kWorkloadEndpoint).front();
  ipam::SimulatedDocuments documents(world.documents, 1);
  ASSERT_TRUE(documents.remove(*key_of(endpoint), revision_of(endpoint)));
  ASSERT_TRUE(agent.add("c1", "web").done);
  EXPECT_EQ(world.documents.list(Kind::kWorkloadEndpoint).size(), 1U);
  EXPECT_EQ(given(world).size(), 2U);
  world.enforces = false;
  EXPECT_EQ(code_of(agent.add("c1", "web")), 103U);
  world.server_away = true;
  EXPECT_EQ(code_of(agent.add("c1", "web")), 11U);
  EXPECT_EQ(world.count_interfaces(), 1U) << "nothing is taken away from who may be running";
  world.server_away = false;
  world.enforces = true;
  EXPECT_TRUE(agent.add("c1", "web").done);
  EXPECT_TRUE(agent.del("c1", "web").done);
  expect_nothing(world);
}

// As a runtime calls DEL that rolls back.
TEST(Service, WhatOneNetworkAddedNoOtherOneIsGivenOrTakesBack) {
  constexpr auto kOther = R"("name":"other","cni.dev/valid-attachments":[])";
  for (const auto role : {Role::kNetwork, Role::kAddresses}) {
    World world;
    std::string result;
    std::vector<std::string> handles;
    {
      Agent agent(world);
      const auto call = [&](std::string command, std::string_view keys) {
        return agent.call(std::move(command), "c1", "web", keys, "/n", role);
      };
      const auto added = call("ADD", {});
      ASSERT_TRUE(added.done) << added.text;
      result = added.text;
      handles = given(world);
      const auto refused = call("ADD", kOther);
      ASSERT_FALSE(refused.done);
      EXPECT_EQ(code_of(refused), 7U);
      EXPECT_THAT(refused.text, HasSubstr("eth0 in container c1 is network pods's"));
      EXPECT_TRUE(call("DEL", kOther).done);
      EXPECT_TRUE(call("GC", kOther).done);
      const auto previous = fmt::format(R"("prevResult":{})", added.text);
      EXPECT_EQ(code_of(call("CHECK", previous + R"(,"name":"other")")), 3U);
      EXPECT_TRUE(call("CHECK", previous).done);
    }
    const Message message{
        .environment = {.role = role, .command = "DEL", .container_id = "c1", .netns = "", .ifname = "eth0"},
        .config = json::object{{"cniVersion", "1.1.0"}, {"name", "other"}},
        .namespace_path = {}};
    std::ofstream(world.folder() / kDeletes / "c1@eth0.json") << to_json(message);
    Agent next(world);
    next.await_tidy();
    EXPECT_TRUE(std::filesystem::is_empty(world.folder() / kDeletes));
    EXPECT_EQ(next.call("ADD", "c1", "web", {}, "/n", role).text, result);
    EXPECT_EQ(given(world), handles);
    EXPECT_TRUE(next.call("DEL", "c1", "web", {}, "/n", role).done);
    EXPECT_EQ(world.count_interfaces(), 0U);
  }
}

TEST(Service, AFailureTakesEverythingBackAndSaysWhatToDo) {
  World world;
  Agent agent(world);
  world.enforces = false;
  const auto not_enforced = agent.add("c1", "web");
  ASSERT_FALSE(not_enforced.done);
  EXPECT_EQ(code_of(not_enforced), 103U);
  EXPECT_THAT(not_enforced.text, HasSubstr("too wide; see: ocicat status"));
  expect_nothing(world);

  // Unless the network is configured to start workloads all the same.
  EXPECT_TRUE(agent.call("ADD", "c1", "web", R"("policy_setup_timeout_seconds":1)").done);
  EXPECT_TRUE(agent.del("c1", "web").done);
  world.enforces = true;

  world.kernel_refuses = true;
  EXPECT_EQ(code_of(agent.add("c1", "web")), 102U);
  world.kernel_refuses = false;
  EXPECT_EQ(code_of(agent.call("ADD", "c1", "web", {}, "gone")), 3U);
  EXPECT_EQ(code_of(agent.call("ADD", "c1", "web", R"("args":{"cni":{"ips":["192.0.2.1"]}})")), 7U);
  EXPECT_EQ(code_of(agent.call("ADD", "c1", "web", R"("nodename":"host2")")), 7U);
  expect_nothing(world);

  ASSERT_TRUE(agent.call("ADD", "c1", "web", R"("args":{"cni":{"ips":["10.0.0.9"]}})").done);
  EXPECT_EQ(code_of(agent.call("ADD", "c2", "db", R"("args":{"cni":{"ips":["10.0.0.9"]}})")), 101U);
  EXPECT_EQ(given(world), (std::vector<std::string>{"pods.c1", "pods.c1"}));
}

TEST(Service, ThePodsNextContainerKeepsWhatIsItsWhenTheLastOneGoes) {
  World world;
  Agent agent(world);
  ASSERT_TRUE(agent.add("old", "web").done);
  ASSERT_TRUE(agent.add("new", "web").done);
  EXPECT_TRUE(agent.del("old", "web").done);
  EXPECT_EQ(world.count_interfaces(), 1U);
  const auto endpoints = world.documents.list(Kind::kWorkloadEndpoint);
  ASSERT_EQ(endpoints.size(), 1U);
  EXPECT_EQ(endpoints[0].at("spec").at("containerID"), "new");
  EXPECT_EQ(given(world), (std::vector<std::string>{"pods.new", "pods.new"}));
}

TEST(Service, AfterABootOfTheHostNothingOfTheOneBeforeIsLeft) {
  World world;
  {
    Agent agent(world);
    ASSERT_TRUE(agent.add("c1", "web").done);
  }
  world.lose_interfaces();
  const Agent next(world, "another boot");
  next.await_tidy();
  expect_nothing(world);
}

TEST(Service, GcTakesBackWhatTheRuntimeForgot) {
  World world;
  Agent agent(world);
  ASSERT_TRUE(agent.add("c1", "web").done);
  ASSERT_TRUE(agent.add("c2", "db").done);
  const auto reply =
      agent.call("GC", "", "", R"("cni.dev/valid-attachments":[{"containerID":"c2","ifname":"eth0"}])");
  EXPECT_TRUE(reply.done) << reply.text;
  EXPECT_EQ(given(world), (std::vector<std::string>{"pods.c2", "pods.c2"}));
  EXPECT_EQ(code_of(agent.call("GC", "", "")), 7U);
}

TEST(Service, GcTakesBackWhatTheRuntimeForgotAlsoWhereTheNotesAreLost) {
  World world;
  ASSERT_TRUE(Agent(world).add("c1", "web").done);
  ASSERT_TRUE(Agent(world).add("c2", "db").done);
  std::filesystem::remove_all(world.folder());
  Agent agent(world);
  constexpr auto kValid = R"("cni.dev/valid-attachments":[{"containerID":"c2","ifname":"eth0"}])";
  const auto others = agent.call("GC", "", "", std::string(R"("name":"others",)") + kValid);
  EXPECT_TRUE(others.done) << others.text;
  EXPECT_EQ(given(world).size(), 4U) << "another network's";
  const auto reply = agent.call("GC", "", "", kValid);
  EXPECT_TRUE(reply.done) << reply.text;
  EXPECT_EQ(given(world), (std::vector<std::string>{"pods.c2", "pods.c2"}));
  EXPECT_EQ(world.count_interfaces(), 1U);
  EXPECT_EQ(world.documents.list(Kind::kWorkloadEndpoint).size(), 1U);
  EXPECT_TRUE(agent.del("c2", "db").done);
  expect_nothing(world);
}

TEST(Service, AddHandsOnWhatPluginsBeforeItInTheChainHaveMade) {
  World world;
  Agent agent(world);
  constexpr auto kPrevious =
      R"("prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"dummy","sandbox":"/n"}],"ips":[]})";
  const auto added = agent.call("ADD", "c1", "web", kPrevious);
  ASSERT_TRUE(added.done) << added.text;
  EXPECT_THAT(added.text, HasSubstr(R"("interfaces":[{"name":"dummy","sandbox":"/n"},{"name":"cali)"));
  EXPECT_EQ(agent.call("ADD", "c1", "web", kPrevious).text, added.text);
  EXPECT_TRUE(agent.call("CHECK", "c1", "web", fmt::format(R"("prevResult":{})", added.text)).done);
  EXPECT_TRUE(agent.del("c1", "web").done);
  EXPECT_EQ(code_of(agent.call("ADD", "c1", "web", R"("prevResult":{"ips":{}})")), 7U);
  expect_nothing(world);
}

TEST(Service, CheckSaysWhatHasChanged) {
  World world;
  Agent agent(world);
  const auto added = agent.add("c1", "web");
  ASSERT_TRUE(added.done);
  const auto previous = fmt::format(R"("prevResult":{})", added.text);
  EXPECT_TRUE(agent.call("CHECK", "c1", "web", previous).done);
  EXPECT_EQ(code_of(agent.call("CHECK", "c2", "web", previous)), 3U);
  const auto check_of = [&](auto change) {
    auto result = json::parse(added.text);
    change(result.as_object());
    return agent.call("CHECK", "c1", "web", fmt::format(R"("prevResult":{})", json::serialize(result)));
  };
  const auto refused = [&](std::string_view what, auto change) {
    const auto reply = check_of(change);
    EXPECT_EQ(reply.done ? 0U : code_of(reply), 104U) << what;
    EXPECT_THAT(reply.text, HasSubstr(what));
  };
  refused("prevResult has 10.9.9.9",
          [](auto& result) { result["ips"].as_array()[0].as_object()["address"] = "10.9.9.9/32"; });
  refused("prevResult does not have fd00::", [](auto& result) { result["ips"].as_array().pop_back(); });
  refused("prevResult does not have 10.0.0.", [](auto& result) { result["ips"].as_array().clear(); });
  refused("prevResult does not have eth0",
          [](auto& result) { result["interfaces"].as_array()[1].as_object()["name"] = "eth7"; });
  refused("prevResult does not have cali", [](auto& result) { result["interfaces"].as_array().clear(); });
  refused("has MAC",
          [](auto& result) { result["interfaces"].as_array()[1].as_object()["mac"] = "02:00:00:00:00:01"; });
  // What other plugins of the chain have made.
  EXPECT_TRUE(check_of([](auto& result) {
                result["interfaces"].as_array().push_back(json::object{{"name", "lo"}, {"sandbox", "/n"}});
                result["ips"].as_array().push_back(
                    json::object{{"address", "127.0.0.1/8"}, {"interface", 2}});
                result["interfaces"].as_array()[1].as_object().erase("mac");
              }).done);
  const auto mac = *MacAddress::parse("02:00:00:00:00:02");
  MacAddress before;
  {
    const std::scoped_lock lock(world.mutex);
    before = std::exchange(world.macs.begin()->second, mac);
  }
  refused("has MAC", [](auto&) {});
  EXPECT_TRUE(check_of([&](auto& result) {
                result["interfaces"].as_array()[1].as_object()["mac"] = mac.to_string();
              }).done)
      << "another plugin of the chain has given it";
  {
    const std::scoped_lock lock(world.mutex);
    world.macs.begin()->second = before;
  }
  world.enforces = false;
  EXPECT_EQ(code_of(agent.call("CHECK", "c1", "web", previous)), 104U);
  world.enforces = true;
  {
    const std::scoped_lock lock(world.mutex);
    world.interfaces.begin()->second.clear();
  }
  EXPECT_EQ(code_of(agent.call("CHECK", "c1", "web", previous)), 104U);
  world.lose_interfaces();
  EXPECT_EQ(code_of(agent.call("CHECK", "c1", "web", previous)), 104U);
}

TEST(Service, StatusSaysWhetherAnyContainerCouldBeServed) {
  World world;
  Agent agent(world);
  EXPECT_TRUE(agent.call("STATUS", "", "").done);
  EXPECT_EQ(code_of(agent.call("STATUS", "", "", R"("x":1,"ipam":{"ipv4_pools":["none-such"]})")), 50U);
  EXPECT_EQ(code_of(agent.call("STATUS", "", "", R"("readiness_gates":["http://127.0.0.1:1/"])")), 50U);
  world.server_away = true;
  EXPECT_EQ(code_of(agent.call("STATUS", "", "")), 50U);
}

// Addresses that another host's block has left are none for this one.
TEST(Service, StatusSaysThatNoAddressIsLeftForThisHostWhereBlocksAreStrictlyTheirHosts) {
  World world;
  const auto create = [&](std::string_view kind, std::string_view name, json::object spec) {
    ASSERT_TRUE(world.documents.apply(ipam::create_of({{"apiVersion", "projectcalico.org/v3"},
                                                       {"kind", kind},
                                                       {"metadata", json::object{{"name", name}}},
                                                       {"spec", std::move(spec)}})));
  };
  create("IPPool", "narrow", {{"cidr", "10.70.0.0/30"}, {"blockSize", 30}, {"assignmentMode", "Manual"}});
  create("IPAMConfiguration", "default", {{"strictAffinity", true}});
  FakeDocuments documents(world, false);
  ipam::Allocator another(documents);
  ipam::AssignRequest request;
  request.host = "host2";
  request.handle = "there";
  request.ipv4 = 1;
  request.pools.ipv4 = {"narrow"};
  ASSERT_TRUE(another.assign(request));
  Agent agent(world);
  constexpr auto kNarrow = R"("ipam":{"assign_ipv4":true,"assign_ipv6":false,"ipv4_pools":["narrow"]})";
  EXPECT_EQ(code_of(agent.call("ADD", "c1", "web", kNarrow)), 100U);
  EXPECT_EQ(code_of(agent.call("STATUS", "", "", kNarrow)), 50U);
  EXPECT_TRUE(agent.call("STATUS", "", "").done) << "other pools have some";
  const ResourceKey key{Kind::kIpamConfiguration, "", "default"};
  auto shared = world.documents.get(key);
  ASSERT_TRUE(shared);
  shared->at("spec").as_object()["strictAffinity"] = false;
  ASSERT_TRUE(world.documents.apply(ipam::update_of(*shared)));
  EXPECT_TRUE(agent.call("STATUS", "", "", kNarrow).done);
}

TEST(Service, AddsNothingWhileTheClusterIsLockedAndTakesBackAllTheSame) {
  World world;
  Agent agent(world);
  ASSERT_TRUE(agent.add("c1", "web").done);
  world.locked = true;
  for (const auto role : {Role::kNetwork, Role::kAddresses}) {
    const auto refused = agent.call("ADD", "c2", "db", {}, "/n", role);
    expect_refusal(refused, 11, "it is");
    EXPECT_THAT(refused.text, HasSubstr("nothing is added to this cluster now"));
    expect_refusal(agent.call("STATUS", "", "", {}, "", role), 50, "it is");
  }
  EXPECT_TRUE(agent.del("c1", "web").done);
  expect_nothing(world);
  world.locked = false;
  EXPECT_TRUE(agent.call("STATUS", "", "").done);
}

TEST(Service, StartsNothingWhileAReadinessGateIsClosed) {
  World world;
  Agent agent(world);
  EXPECT_EQ(code_of(agent.call("ADD", "c1", "web", R"("readiness_gates":["http://127.0.0.1:1/"])")), 11U);
  expect_nothing(world);
}

// An agent that is gone at any step of ADD or DEL leaves nothing that the next one does not take back.
TEST(Service, ACrashAnywhereLeaksNothing) {
  for (const bool deletes : {false, true}) {
    int steps = 1;
    bool came_through = false;
    for (; !came_through; ++steps) {
      ASSERT_LT(steps, 100);
      World world;
      {
        Agent agent(world);
        const bool added = !deletes || agent.add("c1", "web").done;
        ASSERT_TRUE(added);
        world.crash_after(steps);
        try {
          const auto reply = deletes ? agent.del("c1", "web") : agent.add("c1", "web");
          came_through = reply.done && !world.crashed();
        } catch (const Crash&) {
        }
        world.crash_after(1'000'000);
      }
      Agent next(world);
      next.await_tidy();
      // The runtime calls DEL in the end, also for what it was not told is there.
      EXPECT_TRUE(next.del("c1", "web").done);
      SCOPED_TRACE(fmt::format("gone after step {} of {}", steps, deletes ? "DEL" : "ADD"));
      expect_nothing(world);
    }
    EXPECT_GT(steps, deletes ? 3 : 5);
  }
}

TEST(Service, AnyNumberCallAtOnce) {
  World world;
  {
    Agent agent(world);
    std::vector<std::thread> threads;
    std::atomic<int> failures = 0;
    for (int i = 0; i < 16; ++i) {
      threads.emplace_back([&, i] {
        const auto container = fmt::format("c{}", i % 8);  // each is wanted by two
        const auto pod = fmt::format("p{}", i % 8);
        for (int round = 0; round < 5; ++round) {
          failures += !agent.add(container, pod).done;
          failures += !agent.del(container, pod).done;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(failures, 0);
    agent.await_tidy();
  }
  expect_nothing(world);
}

}  // namespace
}  // namespace ocicat::cni
