// DEL, and what is refused.
#include <fstream>

#include "cni/service/world_for_test.h"
#include "http/server.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;
using testing::Contains;
using testing::IsEmpty;
using testing::Not;

TEST(Deletion, RulesInAContainerThatLivesOnGoWithTheInterface) {
  World world;
  Agent agent(world);
  ASSERT_TRUE(agent.add("c1", "web").done);
  EXPECT_TRUE(agent.del("c1", "web").done);
  EXPECT_THAT(world.without_rules, IsEmpty()) << "its routes were in the main table";
  world.tables = {1007, 0};
  ASSERT_TRUE(agent.add("c1", "web").done);
  EXPECT_TRUE(agent.call("DEL", "c1", "web", {}, "/proc/1/fd/7").done);
  EXPECT_THAT(world.without_rules, testing::ElementsAre("/proc/1/fd/7"));
  expect_nothing(world);
  ASSERT_TRUE(agent.add("c1", "web").done);
  world.kernel_refuses = true;
  EXPECT_TRUE(agent.call("DEL", "c1", "web", {}, "/proc/1/fd/7").done);
  EXPECT_EQ(given(world).size(), 2U) << "or others would have addresses that it still has rules for";
  world.kernel_refuses = false;
  agent.await_tidy();
  EXPECT_EQ(world.without_rules.back(), "/n") << "the plugin has gone";
  expect_nothing(world);
}

TEST(Deletion, OfANetworkThatWasRenamedDelTakesBackWhatIsLeftOfAContainerThatHasEnded) {
  World world;
  Agent agent(world);
  constexpr auto kOther = R"("name":"other")";
  ASSERT_TRUE(agent.add("c1", "web").done);
  world.lose_interfaces();
  EXPECT_TRUE(agent.call("DEL", "c1", "web", kOther).done);
  expect_nothing(world);
  ASSERT_TRUE(agent.add("c1", "web").done);
  world.lose_interfaces();
  EXPECT_TRUE(agent.call("ADD", "c1", "web", kOther).done);
  EXPECT_EQ(given(world), (std::vector<std::string>{"other.c1", "other.c1"}));
}

TEST(Deletion, DelSucceedsWithoutAServerAndIsCarriedOutWhenThereIsOne) {
  World world;
  Agent agent(world);
  ASSERT_TRUE(agent.add("c1", "web").done);
  world.server_away = true;
  EXPECT_TRUE(agent.del("c1", "web").done);
  EXPECT_EQ(world.count_interfaces(), 0U);  // that needs no server
  EXPECT_EQ(given(world).size(), 2U);
  EXPECT_EQ(code_of(agent.add("c1", "web")), 11U);
  world.server_away = false;
  agent.await_tidy();
  expect_nothing(world);
}

TEST(Deletion, DelNeedsNoDiskWhereNothingHasToBeNoted) {
  World world;
  Agent agent(world);
  ASSERT_TRUE(agent.add("c1", "web").done);
  {
    const Obstacle disk_full(writing(note_of(world, "c1")));
    EXPECT_TRUE(agent.del("c1", "web").done);
    EXPECT_FALSE(std::filesystem::exists(note_of(world, "c1")));
  }
  expect_nothing(world);

  ASSERT_TRUE(agent.add("c2", "db").done);
  {
    const Obstacle read_only(note_of(world, "c2"));
    EXPECT_TRUE(agent.del("c2", "db").done);
    const Obstacle without_a_note(note_of(world, "never-added"));
    EXPECT_TRUE(agent.del("never-added", "any").done);
    EXPECT_EQ(world.count_interfaces(), 0U);
    EXPECT_THAT(given(world), IsEmpty());
  }
  agent.await_tidy();
  expect_nothing(world);
}

TEST(Deletion, DelThatCanNeitherBeCarriedOutNorNotedFailsUntilEitherCan) {
  World world;
  Agent agent(world);
  for (const bool server_first : {true, false}) {
    ASSERT_TRUE(agent.add("c1", "web").done);
    world.server_away = true;
    {
      const ReadOnly disk(world.folder()), memory(world.memory());
      for (const auto* cause : {"nobody listens", "Read-only file system", kMemory.data()})
        expect_refusal(agent.del("c1", "web"), 5, cause);
      EXPECT_EQ(given(world).size(), 2U);
      world.server_away = !server_first;
      EXPECT_EQ(agent.del("c1", "web").done, server_first);
    }
    EXPECT_TRUE(agent.del("c1", "web").done);
    world.server_away = false;
    agent.await_tidy();
    expect_nothing(world);
  }
}

TEST(Deletion, WhatAddLeavesHalfMadeIsTakenBackAlsoWhereNothingCanBeNotedAnyMore) {
  World world;
  Agent agent(world);
  {
    std::optional<Obstacle> disk_full;
    std::once_flag once;
    world.at_write = [&] {
      std::call_once(once, [&] {
        disk_full.emplace(writing(note_of(world, "c1")));
        world.server_away = true;
      });
    };
    expect_refusal(agent.add("c1", "web"), 11, "nobody listens");
    EXPECT_TRUE(agent.del("c1", "web").done);
    world.server_away = false;
    agent.await_tidy();
  }
  expect_nothing(world);
}

TEST(Deletion, DelWithoutAnAgentThatCannotBeNotedFailsUntilItCan) {
  World world;
  ASSERT_TRUE(Agent(world).add("c1", "web").done);
  {
    const ReadOnly disk(world.folder()), memory(world.memory());
    const auto answer = del_without_agent(world.folder());
    EXPECT_NE(answer.exit_code, 0);
    for (const auto* cause : {"Read-only file system", kMemory.data()})
      expect_refusal(answer.output, 5, cause);
  }
  EXPECT_EQ(del_without_agent(world.folder()).exit_code, 0);
  Agent(world).await_tidy();
  expect_nothing(world);
}

TEST(Deletion, DelNeedsNoRoomOnTheDiskForWhatIsLeftToTheNextAgent) {
  World world;
  for (const bool agent_away : {false, true}) {
    {
      Agent agent(world);
      ASSERT_TRUE(agent.add("c1", "web").done);
      world.server_away = true;
      const Obstacle disk_full(writing(note_of(world, "c1")));
      if (!agent_away) {
        EXPECT_TRUE(agent.del("c1", "web").done);
      }
    }
    for (int call = 0; agent_away && call < 2; ++call) {  // runtimes repeat it
      const Obstacle disk_full(writing(note_of(world, "c1", kDeletes)));
      const auto answer = del_without_agent(world.folder());
      EXPECT_EQ(answer.exit_code, 0) << answer.output;
    }
    EXPECT_TRUE(std::filesystem::exists(unwanted(note_of(world, "c1"))));
    EXPECT_EQ(given(world).size(), 2U);
    world.server_away = false;
    Agent(world).await_tidy();
    expect_nothing(world);
  }
}

constexpr auto kCallOnMemory = "deletes/c1@eth0.json", kMarkOnMemory = "attachments/c1@eth0.unwanted";

TEST(Deletion, DelOfAnotherNetworkMarksNothingWhereTheAgentCannotBeAskedWhoseItIs) {
  World world;
  ASSERT_TRUE(Agent(world).call("ADD", "c1", "web", R"("name":"other")").done);
  {
    const Obstacle disk_full(writing(note_of(world, "c1", kDeletes)));
    const auto answer = del_without_agent(world.folder());
    EXPECT_EQ(answer.exit_code, 0) << answer.output;
  }
  EXPECT_TRUE(std::filesystem::exists(note_of(world, "c1")));
  EXPECT_THAT(noted_on_memory(world), testing::ElementsAre(kCallOnMemory));
  Agent(world).await_tidy();
  EXPECT_EQ(world.count_interfaces(), 1U) << "the next agent sees that it is there";
  EXPECT_THAT(noted_on_memory(world), IsEmpty());
}

TEST(Deletion, DelIsNotedOnMemoryWhereTheDiskIsReadOnly) {
  World world;
  for (const bool agent_away : {false, true}) {
    {
      std::optional<Agent> agent(std::in_place, world);
      ASSERT_TRUE(agent->add("c1", "web").done);
      world.server_away = true;
      const ReadOnly disk(world.folder());
      if (!agent_away) {
        EXPECT_TRUE(agent->del("c1", "web").done);
      }
      agent.reset();
      const auto answer = agent_away ? del_without_agent(world.folder()) : Answer{};
      EXPECT_EQ(answer.exit_code, 0) << answer.output;
    }
    EXPECT_TRUE(std::filesystem::exists(note_of(world, "c1")));
    EXPECT_THAT(noted_on_memory(world), testing::ElementsAre(agent_away ? kCallOnMemory : kMarkOnMemory));
    EXPECT_EQ(std::filesystem::status(world.memory()).permissions(), std::filesystem::perms::owner_all);
    EXPECT_EQ(given(world).size(), 2U);
    world.server_away = false;
    Agent(world).await_tidy();
    expect_nothing(world);
  }
}

TEST(Deletion, MemoryThatTakesNothingIsInNobodysWayWhereTheDiskTakesNotes) {
  World world;
  std::filesystem::create_directories(world.memory() / kAttachments);
  const ReadOnly memory(world.memory());
  {
    Agent agent(world);
    ASSERT_TRUE(agent.add("c1", "web").done);
    EXPECT_TRUE(agent.del("c1", "web").done);
    expect_nothing(world);
    ASSERT_TRUE(agent.add("c1", "web").done);
  }
  EXPECT_EQ(del_without_agent(world.folder()).exit_code, 0);
  Agent(world).await_tidy();
  expect_nothing(world);
}

TEST(Deletion, DelOfWhatNobodyHasNotedIsNotedOnMemory) {
  World world;
  for (const bool agent_away : {false, true}) {
    ASSERT_TRUE(Agent(world).add("c1", "web").done);
    std::filesystem::remove(note_of(world, "c1"));
    {
      std::optional<Agent> agent;
      if (!agent_away) agent.emplace(world);
      const ReadOnly disk(world.folder());
      world.server_away = true;
      if (agent) {
        EXPECT_TRUE(agent->del("c1", "web").done);
        agent.reset();
      } else {
        EXPECT_EQ(del_without_agent(world.folder()).exit_code, 0);
      }
    }
    EXPECT_THAT(noted_on_memory(world), testing::ElementsAre(agent_away ? kCallOnMemory : kMarkOnMemory));
    world.server_away = false;
    Agent(world).await_tidy();
    expect_nothing(world);
  }
}

TEST(Deletion, TheAgentThatNotedItOnMemoryCarriesItOutAndServesTheContainerAgain) {
  World world;
  {
    Agent agent(world);
    ASSERT_TRUE(agent.add("c1", "web").done);
    {
      const ReadOnly disk(world.folder());
      expect_refusal(agent.add("c2", "db"), 5, "Read-only file system");
      world.server_away = true;
      EXPECT_TRUE(agent.del("c1", "web").done);
    }
    world.server_away = false;
    agent.await_tidy();
    expect_nothing(world);
    ASSERT_TRUE(agent.add("c1", "web").done);
  }
  Agent next(world);
  next.await_tidy();
  EXPECT_EQ(world.count_interfaces(), 1U);
  EXPECT_TRUE(next.del("c1", "web").done);
  expect_nothing(world);
}

// Else it would count as a container that is there, and as the one that has the pod's interface.
TEST(Deletion, WhatHasGoneIsGoneForTheNextAgentWhereTheDiskKeepsTheNoteOfIt) {
  World world;
  {
    std::optional<Agent> agent(std::in_place, world);
    ASSERT_TRUE(agent->add("c1", "web").done);
    const ReadOnly disk(world.folder());
    EXPECT_TRUE(agent->del("c1", "web").done);
    EXPECT_THAT(given(world), IsEmpty());
    agent.reset();
    EXPECT_TRUE(std::filesystem::exists(note_of(world, "c1")));
  }
  Agent(world).await_tidy();
  expect_nothing(world);
}

TEST(Deletion, ABootThatEmptiesTheMemoryLosesNothingOfWhatIsNotedOnTheDisk) {
  World world;
  ASSERT_TRUE(Agent(world).add("c1", "web").done);
  {
    const ReadOnly disk(world.folder());
    EXPECT_EQ(del_without_agent(world.folder()).exit_code, 0);
  }
  std::filesystem::remove_all(world.memory());
  world.lose_interfaces();
  Agent(world, "another boot").await_tidy();
  expect_nothing(world);
}

TEST(Deletion, TheFolderOnMemoryIsTheSameHoweverItsFolderIsSpelled) {
  const World world;
  const auto folder = world.folder();
  std::filesystem::create_directory_symlink(folder, folder / "link");
  for (const auto& spelled : {folder / "", folder / "." / "x" / "..", folder / "link"})
    EXPECT_EQ(memory_of(spelled) / "", memory_of(folder) / "") << spelled;
  EXPECT_EQ(memory_of(kFolder), std::filesystem::path(kMemory) / "var/lib/ocicat/cni");
  EXPECT_NE(memory_of(folder / "a"), memory_of(folder / "b"));
}

TEST(Deletion, OneThatAPluginHasMarkedAndTheAgentCannotTakeBackNeedsNoOtherMark) {
  World world;
  Agent agent(world);
  ASSERT_TRUE(agent.add("c1", "web").done);
  std::filesystem::rename(note_of(world, "c1"), unwanted(note_of(world, "c1")));
  world.server_away = true;
  {
    const Obstacle disk_full(writing(note_of(world, "c1")));
    EXPECT_TRUE(agent.del("c1", "web").done);
  }
  world.server_away = false;
  agent.await_tidy();
  expect_nothing(world);
}

// As where it was renamed by a plugin while an agent started, and the container added again.
TEST(Deletion, WhatIsNotedSinceCountsOverWhatNobodyWanted) {
  World world;
  ASSERT_TRUE(Agent(world).add("c1", "web").done);
  std::filesystem::copy_file(note_of(world, "c1"), unwanted(note_of(world, "c1")));
  Agent next(world);
  next.await_tidy();
  EXPECT_EQ(world.count_interfaces(), 1U);
  EXPECT_TRUE(next.del("c1", "web").done);
  expect_nothing(world);
}

TEST(Deletion, DelWithoutAnAgentLeavesAnInterfaceThatTheKernelKeepsToTheNextOne) {
  World world;
  ASSERT_TRUE(Agent(world).call("ADD", "c1", "web", {}, "/n", Role::kNetwork, "lo").done);
  // Nobody can remove it there.
  EXPECT_EQ(del_without_agent(world.folder(), a_containers_namespace(), "lo").exit_code, 0);
  EXPECT_EQ(world.count_interfaces(), 1U);
  Agent(world).await_tidy();
  expect_nothing(world);
}

TEST(Deletion, WhatAnAgentSaysThatHasBegunMeanwhileCounts) {
  World world;
  EXPECT_TRUE(Agent(world).del("c1", "web").done);  // its folders are there
  std::atomic<int> calls = 0;
  http::ServerOptions serving;
  serving.endpoints = {http::Endpoint::unix_socket((world.folder() / kSocket).string())};
  const auto server = http::Server::start(std::move(serving), [&](const auto&, const http::Respond& respond) {
    if (++calls == 1) return respond({503, "text/plain", {}, "it starts\n", {}});
    respond({500, "application/json", {}, R"({"code":5,"msg":"no room","details":"see: df"})", {}});
  });
  ASSERT_TRUE(server);
  for (const bool disk_takes_it : {true, false}) {
    std::optional<ReadOnly> disk;
    if (!disk_takes_it) disk.emplace(world.folder());
    calls = 0;
    const auto answer = del_without_agent(world.folder());
    EXPECT_EQ(answer.exit_code, 1);
    expect_refusal(answer.output, 5, "see: df");
    EXPECT_EQ(calls, 2);
    EXPECT_EQ(std::filesystem::exists(world.memory()), !disk_takes_it)
        << "it was noted before it asked again";
    expect_nothing(world);  // the runtime tries again
  }
}

TEST(Deletion, DelWithoutAnAgentSucceedsWhereItsFolderOrTheContainersNamespaceHasGone) {
  World world;
  ASSERT_TRUE(Agent(world).add("c1", "web").done);
  // The file that a runtime mounts a namespace on outlives it.
  EXPECT_EQ(del_without_agent(world.folder(), note_of(world, "c1")).exit_code, 0);
  const auto folder = world.folder() / "not" / "there";
  EXPECT_EQ(del_without_agent(folder).exit_code, 0);
  EXPECT_TRUE(std::filesystem::exists(folder / kDeletes / "c1@eth0.json"));
  Agent(world).await_tidy();
  expect_nothing(world);
}

TEST(Deletion, EveryRefusalNamesItsCauseAndTheNextCommand) {
  World world;
  Agent agent(world);
  expect_refusal(agent.answer("{}"), 6, "ocicat-cni");
  expect_refusal(agent.call("VERSION", "c1", "web"), 4, "by itself");
  expect_refusal(agent.call("ADD", "c1", "web", R"("nodename":"host2")"), 7, "host2");
  world.mtu = 0;
  expect_refusal(agent.add("c1", "web"), 11, "how large");
  world.mtu = 1400;
  world.enforces = false;
  expect_refusal(agent.add("c1", "web"), 103, "too wide");
  world.enforces = true;
  for (const auto role : {Role::kNetwork, Role::kAddresses}) {
    const auto add = [&] { return agent.call("ADD", "c1", "web", {}, "/n", role); };
    {
      const Obstacle disk_full(writing(note_of(world, "c1")));
      expect_refusal(add(), 5, "Is a directory");
    }
    std::optional<Obstacle> disk_full;  // by when all is made
    std::once_flag once;
    world.at_write = [&] { std::call_once(once, [&] { disk_full.emplace(writing(note_of(world, "c1"))); }); };
    expect_refusal(add(), 5, "Is a directory");
    world.at_write = [] {};
    disk_full.reset();
    EXPECT_THAT(given(world), Not(Contains("pods.c1")));
    EXPECT_TRUE(std::filesystem::is_empty(world.folder() / kAttachments));
    const auto* none = R"("prevResult":{"cniVersion":"1.1.0"})";
    expect_refusal(agent.call("CHECK", "c1", "web", none, "/n", role), 3, "ADD");
  }
  ASSERT_TRUE(agent.add("c1", "web").done);
  expect_refusal(agent.call("ADD", "c1", "web", {}, "/n", Role::kAddresses), 7, "DEL");
}

TEST(Deletion, GcSaysWhatItCouldNotCollectWithEachCause) {
  World world;
  Agent agent(world);
  const auto collect = [&] { return agent.call("GC", "", "", R"("cni.dev/valid-attachments":[])"); };
  ASSERT_TRUE(agent.add("c1", "web").done);
  ASSERT_TRUE(agent.add("c2", "db").done);
  world.server_away = true;
  {
    const ReadOnly disk(world.folder()), memory(world.memory());
    for (const auto* cause : {"c1@eth0", "c2@eth0", "nobody listens"}) expect_refusal(collect(), 5, cause);
  }
  world.tells_endpoints = false;
  expect_refusal(collect(), 11, "which endpoints are here");
  world.tells_endpoints = true;
  world.server_away = false;
  EXPECT_TRUE(collect().done);
  agent.await_tidy();
  expect_nothing(world);
}

TEST(Deletion, DelTakesAPodsAddressesBackAlsoWhereTheNotesAreLost) {
  World world;
  ASSERT_TRUE(world.documents.apply(
      ipam::create_of({{"apiVersion", "v1"},
                       {"kind", "Pod"},
                       {"metadata", json::object{{"namespace", "shop"}, {"name", "web"}}},
                       {"spec", json::object{{"nodeName", "host1"}}}})));
  const auto addresses = [&] {
    return world.documents.list(Kind::kPod)
        .at(0)
        .at("metadata")
        .at("annotations")
        .at("cni.projectcalico.org/podIPs");
  };
  ASSERT_TRUE(Agent(world).add("c1", "web").done);
  EXPECT_NE(addresses(), "");
  std::filesystem::remove_all(world.folder());
  Agent agent(world);
  EXPECT_TRUE(agent.del("another", "web").done);
  EXPECT_NE(addresses(), "") << "that is another container's";
  EXPECT_EQ(world.count_interfaces(), 1U);
  EXPECT_TRUE(agent.del("c1", "web").done);
  EXPECT_EQ(addresses(), "");
  expect_nothing(world);
}

TEST(Deletion, WhatAPluginNotedWithoutAnAgentIsCarriedOutByTheNextOne) {
  World world;
  {
    Agent agent(world);
    ASSERT_TRUE(agent.add("c1", "web").done);
    ASSERT_TRUE(agent.add("c2", "db").done);
  }
  const Message message{
      .environment = {.command = "DEL", .container_id = "c1", .netns = "", .ifname = "eth0"},
      .config = json::object{{"cniVersion", "1.1.0"}, {"name", "pods"}},
      .namespace_path = {}};
  std::ofstream(world.folder() / kDeletes / "c1@eth0.json") << to_json(message);
  std::ofstream(world.folder() / kDeletes / "half.json.new") << "{";
  Agent next(world);
  next.await_tidy();
  EXPECT_EQ(world.count_interfaces(), 1U);
  EXPECT_EQ(given(world), (std::vector<std::string>{"pods.c2", "pods.c2"}));
  EXPECT_TRUE(next.add("c2", "db").done);  // it is whole
}

TEST(Deletion, AnAgentStartsOnAFullDiskWithACallLeftOfWhatNobodyHasNoted) {
  World world;
  ASSERT_TRUE(Agent(world).add("c1", "web").done);
  std::filesystem::remove(note_of(world, "c1"));
  EXPECT_EQ(del_without_agent(world.folder()).exit_code, 0);
  {
    const Obstacle disk_full(writing(note_of(world, "c1")));
    Agent agent(world);
    EXPECT_TRUE(agent.add("c2", "db").done);
    EXPECT_TRUE(agent.del("c2", "db").done);
    EXPECT_EQ(given(world).size(), 2U);
  }
  Agent(world).await_tidy();
  EXPECT_THAT(given(world), IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(world.folder() / kDeletes));
}

TEST(Deletion, ACallThatWasLeftTakesNothingFromWhatIsAddedByTheSameNameSince) {
  World world;
  EXPECT_TRUE(Agent(world).del("c1", "web").done);  // its folders are there
  for (const bool disk_takes_it : {true, false}) {
    {
      std::optional<ReadOnly> disk;
      if (!disk_takes_it) disk.emplace(world.folder());
      EXPECT_EQ(del_without_agent(world.folder()).exit_code, 0);
    }
    {
      std::optional<Obstacle> disk_full(std::in_place, writing(note_of(world, "c1")));
      Agent agent(world);
      disk_full.reset();
      ASSERT_TRUE(agent.add("c1", "web").done);
    }
    Agent next(world);
    next.await_tidy();
    EXPECT_EQ(world.count_interfaces(), 1U);
    EXPECT_EQ(given(world).size(), 2U);
    EXPECT_TRUE(next.del("c1", "web").done);
    expect_nothing(world);
  }
}

}  // namespace
}  // namespace ocicat::cni
