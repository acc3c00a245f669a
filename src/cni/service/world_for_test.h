// What tests of the service have around it: a server, a kernel, a disk; and agents that come and go.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <algorithm>
#include <atomic>
#include <boost/json.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/folder_for_test.h"
#include "base/unique_fd.h"
#include "cni/attachment.h"
#include "cni/places.h"
#include "cni/plugin/plugin.h"
#include "cni/service/service.h"
#include "ipam/simulated_documents.h"

namespace ocicat::cni {

// The agent is gone, at this point.
struct Crash {};

// What outlives an agent: a server, a kernel, a disk.
class World {
 public:
  World() {
    for (const auto& [name, cidr] : {std::pair{"v4", "10.0.0.0/24"}, {"v6", "fd00::/120"}}) {
      documents.apply(ipam::create_of({{"apiVersion", "projectcalico.org/v3"},
                                       {"kind", "IPPool"},
                                       {"metadata", boost::json::object{{"name", name}}},
                                       {"spec", boost::json::object{{"cidr", cidr}}}}));
    }
  }

  ~World() { std::filesystem::remove_all(memory()); }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  const std::filesystem::path& folder() const { return folder_.path(); }
  std::filesystem::path memory() const { return memory_of(folder()); }
  // Counts down with everything that an agent does; at zero it is gone. Nothing: it lives.
  void crash_after(int steps) { left_ = steps; }
  bool crashed() const { return left_ <= 0; }
  void step() {
    if (left_ < kNever && --left_ <= 0) throw Crash{};
  }

  ipam::SharedDocuments documents;
  std::mutex mutex;
  std::map<std::string, std::vector<IpAddress>> interfaces;  // on the host, by name
  std::map<std::string, MacAddress> macs;                    // of the other ends
  kernel::DefaultTables tables{};                            // where their default routes are
  std::vector<std::string> without_rules;                    // namespaces in which rules were removed
  std::atomic<bool> server_away = false;
  std::atomic<bool> kernel_refuses = false;
  std::atomic<bool> enforces = true;
  std::atomic<bool> locked = false;
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
  TestFolder folder_;
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
                                     .routes4 = true,
                                     .routes6 = true};
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
  Result<std::vector<boost::json::object>> list(Kind kind) override {
    if (world_.server_away) return fail(ErrorCode::kUnavailable, "nobody listens");
    return SimulatedDocuments::list(kind);
  }
  std::vector<Result<boost::json::object>> get(const std::vector<ResourceKey>& keys) override {
    if (crashes_) world_.step();
    if (!world_.server_away) return SimulatedDocuments::get(keys);
    return std::vector<Result<boost::json::object>>(keys.size(),
                                                    fail(ErrorCode::kUnavailable, "nobody listens"));
  }
  std::vector<Result<boost::json::object>> write(std::vector<ipam::Write> writes) override {
    if (crashes_) world_.step();
    world_.at_write();
    if (!world_.server_away) return SimulatedDocuments::write(std::move(writes));
    return std::vector<Result<boost::json::object>>(writes.size(),
                                                    fail(ErrorCode::kUnavailable, "nobody listens"));
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
    auto service = Service::start(
        {.node = "host1", .folder = world.folder(), .boot = std::move(boot)},
        {.allocator = &allocator_,
         .links = &links_,
         .enforcement = &enforcement_,
         .documents = [&world] { return std::make_unique<FakeDocuments>(world, true); },
         .why_not_ready = [] { return std::string(); },
         .why_locked = [&world] { return std::string(world.locked ? "it is; see: ocicat get" : ""); }});
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
                    .config = boost::json::parse(config).as_object(),
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

inline std::vector<std::string> given(const World& world) {
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

inline std::vector<std::string> noted_on_memory(const World& world) {
  std::vector<std::string> notes;
  if (!std::filesystem::exists(world.memory())) return notes;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(world.memory())) {
    if (!entry.is_directory()) notes.push_back(entry.path().lexically_relative(world.memory()));
  }
  return notes;
}

inline void expect_nothing(World& world) {
  EXPECT_EQ(world.count_interfaces(), 0U);
  EXPECT_THAT(world.documents.list(Kind::kWorkloadEndpoint), testing::IsEmpty());
  EXPECT_THAT(world.documents.list(Kind::kIpamHandle), testing::IsEmpty());
  EXPECT_THAT(given(world), testing::IsEmpty());
  EXPECT_TRUE(std::filesystem::is_empty(world.folder() / kAttachments));
  EXPECT_TRUE(std::filesystem::is_empty(world.folder() / kDeletes));
  EXPECT_THAT(noted_on_memory(world), testing::IsEmpty());
}

inline unsigned code_of(const Reply& reply) {
  return boost::json::parse(reply.text).at("code").to_number<unsigned>();
}

// What cannot be written or removed, whoever tries: there is a folder of that name.
class Obstacle {
 public:
  explicit Obstacle(std::filesystem::path path) : path_(std::move(path)) {
    std::filesystem::remove(path_);
    std::filesystem::create_directories(path_);
  }
  ~Obstacle() { std::filesystem::remove(path_); }
  Obstacle(const Obstacle&) = delete;
  Obstacle& operator=(const Obstacle&) = delete;

 private:
  std::filesystem::path path_;
};

// What is in the folder stays as it is.
class ReadOnly {
 public:
  explicit ReadOnly(std::filesystem::path path) : path_(std::move(path)) {
    std::filesystem::create_directories(path_);
    CHECK(::mount(path_.c_str(), path_.c_str(), nullptr, MS_BIND, nullptr) == 0);  // as root alone can
    CHECK(::mount(nullptr, path_.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr) == 0);
  }
  ~ReadOnly() { ::umount2(path_.c_str(), MNT_DETACH); }
  ReadOnly(const ReadOnly&) = delete;
  ReadOnly& operator=(const ReadOnly&) = delete;

 private:
  std::filesystem::path path_;
};

inline std::filesystem::path note_of(const World& world, std::string_view container,
                                     std::string_view folder = kAttachments) {
  return world.folder() / folder / fmt::format("{}@eth0.json", container);
}
inline std::filesystem::path writing(std::filesystem::path note) {
  return note += ".new";
}
inline std::filesystem::path unwanted(std::filesystem::path note) {
  return note.replace_extension(kUnwanted);
}

// As test/e2e/cni_errors.py has it of what runtimes get.
inline constexpr const char* kNextCommand =
    "ocicat (--version|[a-z]+)|grep -rl|ip (netns|link|address|-[46] "
    "rule)|dmesg|df|curl|journalctl|systemctl";

inline void expect_refusal(const std::string& text, unsigned code, const std::string& cause) {
  const auto error = boost::json::parse(text);
  EXPECT_EQ(error.at("code").to_number<unsigned>(), code) << text;
  EXPECT_NE(error.at("msg"), "");
  const auto details = boost::json::value_to<std::string>(error.at("details"));
  EXPECT_THAT(details, testing::AllOf(testing::HasSubstr(cause), testing::ContainsRegex(kNextCommand)));
}
inline void expect_refusal(const Reply& reply, unsigned code, const std::string& cause) {
  ASSERT_FALSE(reply.done);
  expect_refusal(reply.text, code, cause);
}

// The path of a container's network namespace, in which there is nothing but `lo`: another one than the plugin's own.
inline std::string a_containers_namespace() {
  static const auto file = [] {
    UniqueFd made;
    std::thread([&] {
      CHECK(::unshare(CLONE_NEWNET) == 0);
      made = UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    }).join();
    CHECK(made);
    return made;
  }();
  return fmt::format("/proc/self/fd/{}", file.get());
}

// As a runtime calls the plugin, which finds no agent.
inline Answer del_without_agent(const std::filesystem::path& folder, std::string netns = "/run/netns/gone",
                                std::string ifname = "eth0") {
  return run_plugin({.command = "DEL",
                     .container_id = "c1",
                     .netns = std::move(netns),
                     .ifname = std::move(ifname),
                     .args = "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web"},
                    boost::json::serialize(boost::json::object{
                        {"cniVersion", "1.1.0"}, {"name", "pods"}, {"agent_dir", folder.string()}}));
}

}  // namespace ocicat::cni
