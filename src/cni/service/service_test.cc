#include "cni/service/service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <fstream>
#include <thread>

#include "cni/attachment.h"
#include "cni/places.h"
#include "cni/plugin/plugin.h"
#include "ipam/simulated_documents.h"

namespace ocicat::cni {
namespace {

namespace json = boost::json;
using ipam::SharedDocuments;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

// The agent is gone, at this point.
struct Crash {};

// What outlives an agent: a server, a kernel, a disk.
class World {
 public:
  World() {
    static std::atomic<int> next = 0;
    folder_ = std::filesystem::temp_directory_path() / fmt::format("ocicat-cni-{}-{}", ::getpid(), ++next);
    for (const auto& [name, cidr] : {std::pair{"v4", "10.0.0.0/24"}, {"v6", "fd00::/120"}}) {
      documents.apply(ipam::create_of({{"apiVersion", "projectcalico.org/v3"},
                                       {"kind", "IPPool"},
                                       {"metadata", json::object{{"name", name}}},
                                       {"spec", json::object{{"cidr", cidr}}}}));
    }
  }
  ~World() { std::filesystem::remove_all(folder_); }

  const std::filesystem::path& folder() const { return folder_; }
  // Counts down with everything that an agent does; at zero it is gone. Nothing: it lives.
  void crash_after(int steps) { left_ = steps; }
  bool crashed() const { return left_ <= 0; }
  void step() {
    if (left_ < kNever && --left_ <= 0) throw Crash{};
  }

  SharedDocuments documents;
  std::mutex mutex;
  std::map<std::string, std::vector<IpAddress>> interfaces;  // on the host, by name
  std::map<std::string, MacAddress> macs;                    // of the other ends
  kernel::DefaultTables tables{};                            // where their default routes are
  std::vector<std::string> without_rules;                    // namespaces in which rules were removed
  std::atomic<bool> server_away = false;
  std::atomic<bool> kernel_refuses = false;
  std::atomic<bool> enforces = true;
  std::atomic<bool> tells_endpoints = true;
  std::function<void()> at_write = [] {};  // before something is written at the server
  std::atomic<std::uint32_t> mtu = 1400;
  std::function<void()> mtu_changed;
  std::vector<std::pair<std::uint32_t, std::uint32_t>>
      mtus;  // before and after, of interfaces that were changed

  std::size_t count_interfaces() {
    const std::scoped_lock lock(mutex);
    return interfaces.size();
  }
  void lose_interfaces() {
    const std::scoped_lock lock(mutex);
    interfaces.clear();
  }

  void await_mtus(std::size_t count) {
    for (const auto begin = std::chrono::steady_clock::now();;
         std::this_thread::sleep_for(std::chrono::milliseconds(2))) {
      const std::scoped_lock lock(mutex);
      if (mtus.size() >= count) return;
      CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
    }
  }

 private:
  static constexpr int kNever = 1'000'000;
  std::atomic<int> left_ = kNever;
  std::filesystem::path folder_;
};

class FakeLinks : public kernel::WorkloadLinks {
 public:
  explicit FakeLinks(World& world) : world_(world) {}

  Result<void> create(const kernel::WorkloadPair& pair) override {
    world_.step();
    if (pair.namespace_path == "gone") return fail(ErrorCode::kNotFound, "no namespace");
    const std::scoped_lock lock(world_.mutex);
    world_.interfaces[pair.host_name].clear();
    world_.macs[pair.host_name] = pair.mac;
    if (world_.kernel_refuses) return fail(ErrorCode::kInternal, "the kernel has had enough");
    return {};
  }
  Result<kernel::DefaultTables> address(const kernel::WorkloadPair& pair,
                                        const std::vector<IpAddress>& addresses) override {
    world_.step();
    const std::scoped_lock lock(world_.mutex);
    world_.interfaces[pair.host_name] = addresses;
    return world_.tables;
  }
  Result<bool> remove(const std::string& host_name) override {
    world_.step();
    const std::scoped_lock lock(world_.mutex);
    return world_.interfaces.erase(host_name) > 0;
  }
  Result<void> remove_rules(const kernel::WorkloadPair& pair, const std::vector<IpAddress>& given) override {
    world_.step();
    const std::scoped_lock lock(world_.mutex);
    CHECK(!given.empty() && !world_.interfaces.contains(pair.host_name));
    world_.without_rules.push_back(pair.namespace_path);
    if (world_.kernel_refuses) return fail(ErrorCode::kInternal, "the kernel has had enough");
    return {};
  }
  Result<bool> has(const std::string& host_name) override {
    const std::scoped_lock lock(world_.mutex);
    return world_.interfaces.contains(host_name);
  }
  Result<std::optional<kernel::WorkloadPairState>> look(const kernel::WorkloadPair& pair,
                                                        const std::vector<IpAddress>& /*given*/) override {
    const std::scoped_lock lock(world_.mutex);
    const auto at = world_.interfaces.find(pair.host_name);
    if (at == world_.interfaces.end()) return std::nullopt;
    return kernel::WorkloadPairState{.host_up = true,
                                     .up = true,
                                     .mac = world_.macs[pair.host_name],
                                     .addresses = at->second,
                                     .default4 = true,
                                     .default6 = true};
  }
  Result<void> set_mtu(const kernel::WorkloadPair& pair, std::uint32_t before) override {
    const std::scoped_lock lock(world_.mutex);
    if (!world_.interfaces.contains(pair.host_name)) return fail(ErrorCode::kNotFound, "no interface");
    world_.mtus.push_back({before, pair.mtu});
    return {};
  }

 private:
  World& world_;
};

// The server, seen from an agent: away at times, and each call may be the agent's last.
class FakeDocuments : public ipam::SimulatedDocuments {
 public:
  FakeDocuments(World& world, bool crashes)
      : SimulatedDocuments(world.documents, 1), world_(world), crashes_(crashes) {}

  using Documents::get;
  Result<std::vector<json::object>> list(Kind kind) override {
    if (world_.server_away) return fail(ErrorCode::kUnavailable, "nobody listens");
    return SimulatedDocuments::list(kind);
  }
  std::vector<Result<json::object>> get(const std::vector<ResourceKey>& keys) override {
    if (crashes_) world_.step();
    if (!world_.server_away) return SimulatedDocuments::get(keys);
    return std::vector<Result<json::object>>(keys.size(), fail(ErrorCode::kUnavailable, "nobody listens"));
  }
  std::vector<Result<json::object>> write(std::vector<ipam::Write> writes) override {
    if (crashes_) world_.step();
    world_.at_write();
    if (!world_.server_away) return SimulatedDocuments::write(std::move(writes));
    return std::vector<Result<json::object>>(writes.size(), fail(ErrorCode::kUnavailable, "nobody listens"));
  }

 private:
  World& world_;
  const bool crashes_;
};

class FakeEnforcement : public Enforcement {
 public:
  explicit FakeEnforcement(World& world) : world_(world) {}
  std::unique_ptr<Watch> watch(const ResourceKey& /*endpoint*/) override {
    return std::make_unique<Waiting>(world_);
  }
  void look() override {}
  std::optional<std::vector<ResourceKey>> endpoints() override {
    if (!world_.tells_endpoints) return std::nullopt;
    std::vector<ResourceKey> keys;
    for (const auto& document : world_.documents.list(Kind::kWorkloadEndpoint)) {
      const auto& metadata = document.at("metadata");
      keys.push_back({Kind::kWorkloadEndpoint, std::string(metadata.at("namespace").as_string()),
                      std::string(metadata.at("name").as_string())});
    }
    return keys;
  }
  bool judges() const override { return true; }
  std::uint32_t mtu() const override { return world_.mtu; }
  void on_mtu(std::function<void()> changed) override {
    const std::scoped_lock lock(world_.mutex);
    world_.mtu_changed = std::move(changed);
  }

 private:
  class Waiting : public Watch {
   public:
    explicit Waiting(World& world) : world_(world) {}
    bool wait(std::uint64_t, const std::vector<IpAddress>&, std::chrono::steady_clock::time_point) override {
      world_.step();
      return world_.enforces;
    }
    std::string why_not() const override { return "too wide"; }

   private:
    World& world_;
  };
  World& world_;
};

class Agent {
 public:
  explicit Agent(World& world, std::string boot = "boot")
      : links_(world), enforcement_(world), allocator_(std::make_unique<FakeDocuments>(world, false)) {
    auto service =
        Service::start({.node = "host1", .folder = world.folder(), .boot = std::move(boot)},
                       {.allocator = &allocator_,
                        .links = &links_,
                        .enforcement = &enforcement_,
                        .documents = [&world] { return std::make_unique<FakeDocuments>(world, true); },
                        .why_not_ready = [] { return std::string(); }});
    CHECK(service);
    service_ = *std::move(service);
  }

  Reply call(std::string command, std::string container, std::string pod, std::string_view keys = {},
             std::string namespace_path = "/n", Role role = Role::kNetwork, std::string ifname = "eth0") {
    const auto config = fmt::format(
        R"({{"cniVersion":"1.1.0","name":"pods","ipam":{{"type":"{}","assign_ipv6":true}}{}{}}})",
        role == Role::kAddresses ? kAddressesPlugin : "calico-ipam", keys.empty() ? "" : ",", keys);
    Message message{.environment = {.role = role,
                                    .command = std::move(command),
                                    .container_id = std::move(container),
                                    .netns = "/n",
                                    .ifname = std::move(ifname),
                                    .args = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=" + pod},
                    .config = json::parse(config).as_object(),
                    .namespace_path = std::move(namespace_path)};
    return answer(to_json(message));
  }
  Reply answer(std::string_view message) { return service_->answer(message); }
  Reply add(std::string container, std::string pod) {
    return call("ADD", std::move(container), std::move(pod));
  }
  Reply del(std::string container, std::string pod) {
    return call("DEL", std::move(container), std::move(pod));
  }

  // What is left of what nobody wants goes by itself.
  void await_tidy() const {
    for (const auto begin = std::chrono::steady_clock::now(); service_->unwanted() > 0;) {
      CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(60));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // between two looks
    }
  }

 private:
  FakeLinks links_;
  FakeEnforcement enforcement_;
  ipam::GroupAllocator allocator_;
  std::unique_ptr<Service> service_;
};

std::vector<std::string> given(const World& world) {
  std::vector<std::string> handles;
  for (const auto& document : world.documents.list(Kind::kIpamBlock)) {
    const auto block = decode_block(document);
    CHECK(block);
    for (const auto& index : block->value.allocations) {
      if (index) handles.push_back(block->value.attributes.at(*index).handle.value_or("?"));
    }
  }
  std::ranges::sort(handles);
  return handles;
}

void expect_nothing(World& world) {
  EXPECT_EQ(world.count_interfaces(), 0U);
  EXPECT_THAT(world.documents.list(Kind::kWorkloadEndpoint), IsEmpty());
  EXPECT_THAT(world.documents.list(Kind::kIpamHandle), IsEmpty());
  EXPECT_THAT(given(world), IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(world.folder() / kAttachments));
  EXPECT_TRUE(std::filesystem::is_empty(world.folder() / kDeletes));
}

unsigned code_of(const Reply& reply) {
  return json::parse(reply.text).at("code").to_number<unsigned>();
}

// What cannot be written or removed, whoever tries: there is a folder of that name.
class Obstacle {
 public:
  explicit Obstacle(std::filesystem::path path) : path_(std::move(path)) {
    std::filesystem::remove(path_);
    std::filesystem::create_directory(path_);
  }
  ~Obstacle() { std::filesystem::remove(path_); }
  Obstacle(const Obstacle&) = delete;
  Obstacle& operator=(const Obstacle&) = delete;

 private:
  std::filesystem::path path_;
};

std::filesystem::path note_of(const World& world, std::string_view container,
                              std::string_view folder = kAttachments) {
  return world.folder() / folder / fmt::format("{}@eth0.json", container);
}
std::filesystem::path writing(std::filesystem::path note) {
  return note += ".new";
}

// As test/e2e/cni_errors.py has it of what runtimes get.
constexpr const char* kNextCommand =
    "ocicat (--version|[a-z]+)|grep -rl|ip (netns|link|address|-[46] "
    "rule)|dmesg|df|curl|journalctl|systemctl";

void expect_refusal(const std::string& text, unsigned code, const std::string& cause) {
  const auto error = json::parse(text);
  EXPECT_EQ(error.at("code").to_number<unsigned>(), code) << text;
  EXPECT_NE(error.at("msg"), "");
  const auto details = json::value_to<std::string>(error.at("details"));
  EXPECT_THAT(details, testing::AllOf(HasSubstr(cause), testing::ContainsRegex(kNextCommand)));
}
void expect_refusal(const Reply& reply, unsigned code, const std::string& cause) {
  ASSERT_FALSE(reply.done);
  expect_refusal(reply.text, code, cause);
}

// As a runtime calls the plugin, which finds no agent.
Answer del_without_agent(const std::filesystem::path& folder, std::string netns = "/run/netns/gone",
                         std::string ifname = "eth0") {
  return run_plugin({.command = "DEL",
                     .container_id = "c1",
                     .netns = std::move(netns),
                     .ifname = std::move(ifname),
                     .args = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web"},
                    json::serialize(json::object{
                        {"cniVersion", "1.1.0"}, {"name", "pods"}, {"agent_dir", folder.string()}}));
}

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

TEST(Service, RulesInAContainerThatLivesOnGoWithTheInterface) {
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

TEST(Service, OfANetworkThatWasRenamedDelTakesBackWhatIsLeftOfAContainerThatHasEnded) {
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

TEST(Service, DelSucceedsWithoutAServerAndIsCarriedOutWhenThereIsOne) {
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

TEST(Service, DelNeedsNoDiskWhereNothingHasToBeNoted) {
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

TEST(Service, DelThatCanNeitherBeCarriedOutNorNotedFailsUntilEitherCan) {
  World world;
  Agent agent(world);
  for (const bool server_first : {true, false}) {
    ASSERT_TRUE(agent.add("c1", "web").done);
    world.server_away = true;
    {
      const Obstacle disk_full(writing(note_of(world, "c1")));
      for (const auto* cause : {"nobody listens", "Is a directory"})
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

TEST(Service, WhatAddLeavesHalfMadeIsTakenBackAlsoWhereNothingCanBeNotedAnyMore) {
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

TEST(Service, DelWithoutAnAgentThatCannotBeNotedFailsUntilItCan) {
  World world;
  ASSERT_TRUE(Agent(world).add("c1", "web").done);
  {
    const Obstacle disk_full(writing(note_of(world, "c1", kDeletes)));
    const auto answer = del_without_agent(world.folder());
    EXPECT_NE(answer.exit_code, 0);
    expect_refusal(answer.output, 5, "Is a directory");
  }
  EXPECT_EQ(del_without_agent(world.folder()).exit_code, 0);
  Agent(world).await_tidy();
  expect_nothing(world);
}

TEST(Service, DelWithoutAnAgentSaysThatTheKernelKeepsTheInterfaceAndIsNotedAllTheSame) {
  World world;
  ASSERT_TRUE(Agent(world).call("ADD", "c1", "web", {}, "/n", Role::kNetwork, "lo").done);
  const auto answer =
      del_without_agent(world.folder(), "/proc/self/ns/net", "lo");  // which nobody can remove
  EXPECT_NE(answer.exit_code, 0);
  expect_refusal(answer.output, 102, "not ");
  EXPECT_EQ(del_without_agent(world.folder(), "/run/netns/gone", "lo").exit_code, 0);
  Agent(world).await_tidy();
  expect_nothing(world);
}

TEST(Service, DelWithoutAnAgentSucceedsWhereItsFolderOrTheContainersNamespaceHasGone) {
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

TEST(Service, EveryRefusalNamesItsCauseAndTheNextCommand) {
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

TEST(Service, GcSaysWhatItCouldNotCollectWithEachCause) {
  World world;
  Agent agent(world);
  const auto collect = [&] { return agent.call("GC", "", "", R"("cni.dev/valid-attachments":[])"); };
  ASSERT_TRUE(agent.add("c1", "web").done);
  ASSERT_TRUE(agent.add("c2", "db").done);
  world.server_away = true;
  {
    const Obstacle first(writing(note_of(world, "c1"))), second(writing(note_of(world, "c2")));
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

TEST(Service, DelTakesAPodsAddressesBackAlsoWhereTheNotesAreLost) {
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

TEST(Service, WhatAPluginNotedWithoutAnAgentIsCarriedOutByTheNextOne) {
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
