// BIRD itself on two hosts, each a network namespace, with the real kernel: what network/bgp/ makes of
// resources.
#pragma once

#include <gtest/gtest.h>
#include <linux/rtnetlink.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/command.h"
#include "dataplane/bird/bird.h"
#include "dataplane/bird/control.h"
#include "kernel/network_namespace.h"
#include "kernel/routes.h"
#include "network/bgp/bird_configuration.h"

namespace ocicat::dataplane {

namespace bgp = network::bgp;

// Far more than anything here takes; only a failure waits that long.
constexpr std::chrono::seconds kPatience{60};

inline void eventually(const std::function<bool()>& holds) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!holds()) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "it never came to hold";
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

using Routes = std::multimap<std::string, std::uint32_t>;  // the metric by destination

// hostN has 10.0.0.N and fd00::N, and a workload at 10.65.N.9 and fd65::N:9.
class Host {
 public:
  explicit Host(int number) : number_(number), network_(kernel::NetworkNamespace::create().value()) {
    std::string folder = (std::filesystem::temp_directory_path() / "ocicat-bird-XXXXXX").string();
    EXPECT_NE(::mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    bird_.emplace(Bird::find({.folder = folder_ / "bird", .program = {}}).value());
  }
  ~Host() {
    network_.run([&] { EXPECT_TRUE(Bird::remove(folder_ / "bird")); });
    std::filesystem::remove_all(folder_);
  }
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  void ip(const std::string& lines) {
    network_.run([&] {
      const auto done = run({"ip", "-batch", "-"}, lines);
      EXPECT_TRUE(done) << done.error().message;
    });
  }
  void wire() {
    ip(
        fmt::format("link set lo up\nlink set wire0 up\naddr add 10.0.0.{0}/24 dev wire0\naddr add "
                    "fd00::{0}/64 dev wire0 nodad\n"
                    "link add cali1 type veth peer name eth0\nlink set cali1 up\nlink set eth0 up\n"
                    "route add 10.65.{0}.9/32 dev cali1 proto 80 metric 1024\n"
                    "route add fd65::{0}:9/128 dev cali1 proto 80 metric 1024\n",
                    number_));
  }
  Routes routes() {
    Routes found;
    network_.run([&] {
      const auto kernel = kernel::NetlinkRoutes::open().value();
      const auto routes = kernel->routes(RTPROT_BIRD).value();
      for (const auto& route : routes) found.emplace(route.destination.to_string(), route.metric);
    });
    return found;
  }
  std::string ip_route(const std::string& words) {
    std::string text;
    network_.run([&] { text = run({"sh", "-c", "ip route " + words + "; ip -6 route " + words}).value(); });
    return text;
  }
  std::string copies() { return ip_route("show proto 81"); }
  std::string blackholes() {
    std::string text;
    network_.run([&] { text = run({"ip", "route", "show", "type", "blackhole", "proto", "bird"}).value(); });
    return text;
  }
  Result<void> apply(const std::string& configuration) {
    Result<void> done;
    network_.run([&] { done = bird_->apply(configuration); });
    return done;
  }
  Result<BirdStatus> look() {
    Result<BirdStatus> status;
    network_.run([&] { status = bird_->look(); });
    return status;
  }
  // The id of the one that was killed.
  pid_t kill() {
    const auto pid = look()->pid;
    EXPECT_EQ(::kill(pid, SIGKILL), 0);
    return pid;
  }
  bool has_another_than(pid_t pid) {
    const auto status = look();
    return status && status->pid != pid;
  }
  bool all_established() {
    const auto status = look();
    return status && !status->recovering && status->sessions.size() == 2 &&
           std::ranges::all_of(status->sessions, &SessionState::established);
  }
  Bird& bird() { return *bird_; }
  // Another agent: it knows nothing of the BIRD that runs.
  void forget(const std::string& program = {}) {
    bird_.emplace(Bird::find({.folder = folder_ / "bird", .program = program}).value());
  }
  // BIRD, which starts to run only once there is a file at gate().
  std::string program_behind_gate() const {
    const auto path = folder_ / "slow-bird";
    std::ofstream(path) << fmt::format(
        "#!/bin/sh\nPATH=$PATH:/usr/sbin:/usr/local/sbin\n"
        "while [ \"$1\" != -p ] && [ ! -e {0}/gate ] && [ -d {0} ]; do sleep 0.01; done\n"
        "exec bird \"$@\"\n",
        folder_.string());
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path.string();
  }
  std::filesystem::path gate() const { return folder_ / "gate"; }
  // Routes as one that died has left them, by a neighbour in no net of an address here: no BIRD reads them.
  void leave_routes() {
    ip("route add 10.9.9.9/32 dev wire0\nroute add fd09::9/128 dev wire0\n"
       "route add 10.65.77.7/32 via 10.9.9.9 proto bird metric 1024\n"
       "route add fd65::77:7/128 via fd09::9 proto bird metric 1024\n");
  }
  bool has_left_routes() {
    const auto all = routes();
    return all.contains("10.65.77.7/32") || all.contains("fd65::77:7/128");
  }
  std::filesystem::path folder() const { return folder_ / "bird"; }
  // The protocols that BIRD says it has passed routes of again, in order.
  std::vector<std::string> reloaded() const {
    constexpr std::string_view kWords = "Reloading protocol ";
    std::vector<std::string> names;
    std::ifstream log(bird_->log_file());
    for (std::string line; std::getline(log, line);) {
      if (const auto at = line.find(kWords); at != std::string::npos)
        names.push_back(line.substr(at + kWords.size()));
    }
    return names;
  }
  const kernel::NetworkNamespace& network() const { return network_; }

 private:
  int number_;
  kernel::NetworkNamespace network_;
  std::filesystem::path folder_;
  std::optional<Bird> bird_;
};

inline bgp::Input cluster(int self) {
  bgp::Input input;
  input.node = fmt::format("host{}", self);
  for (int i = 1; i <= 2; ++i) {
    auto& node = input.nodes[fmt::format("host{}", i)];
    node.metadata.name = fmt::format("host{}", i);
    node.ipv4 = Prefix::parse(fmt::format("10.0.0.{}/24", i));
    node.ipv6 = Prefix::parse(fmt::format("fd00::{}/64", i));
  }
  for (const auto* cidr : {"10.65.0.0/16", "fd65::/48"}) input.pools[cidr].cidr = *Prefix::parse(cidr);
  return input;
}

class BirdTest : public testing::Test {
 protected:
  BirdTest() {
    hosts_[0].ip(
        fmt::format("link add wire0 type veth peer name wire0 netns {}\n", hosts_[1].network().path()));
    for (auto& host : hosts_) host.wire();
  }
  static Result<std::string> no_secrets(const SecretKey&) { return fail(ErrorCode::kNotFound, "none"); }
  std::string configuration(int self, const bgp::Input& input) {
    return bgp::bird_configuration(bgp::intent_for(input, no_secrets), host(self).bird().log_file().string());
  }
  void begin() {
    for (const int self : {1, 2}) {
      const auto done = host(self).apply(configuration(self, cluster(self)));
      ASSERT_TRUE(done) << done.error().message;
    }
    eventually([&] { return host(1).all_established() && host(2).all_established(); });
    eventually([&] {
      return host(1).routes().contains("10.65.2.9/32") && host(1).routes().contains("fd65::2:9/128");
    });
    eventually([&] {
      return host(2).routes().contains("10.65.1.9/32") && host(2).routes().contains("fd65::1:9/128");
    });
  }
  // What the kernels of both have by BIRD, and all that host 2 has heard of host 1.
  std::string all_routes() {
    std::string text;
    for (const int self : {1, 2}) {
      for (const auto& [destination, metric] : host(self).routes())
        text += fmt::format("host{} {} metric {}\n", self, destination, metric);
    }
    std::multiset<std::string> heard;  // BIRD's own order is by chance
    for (const auto* session : {"Mesh_10_0_0_1", "Mesh_fd00__1"}) {
      auto control = BirdControl::connect(host(2).folder() / "bird.ctl");
      if (!control) return control.error().message;
      const auto told = control->ask(fmt::format("show route all protocol {}", session));
      if (!told) return told.error().message;
      const auto lines =
          std::regex_replace(*told, std::regex(R"(\[(\w+) [0-9:.]+)"), "[$1");  // without since when
      const std::regex route(R"(\S[^\n]*\n(\t[^\n]*\n)*)");
      for (std::sregex_iterator it(lines.begin(), lines.end(), route), end; it != end; ++it)
        heard.insert(it->str());
    }
    for (const auto& route : heard) text += route;
    return text;
  }
  static bool same_sessions(const BirdStatus& before, const BirdStatus& after) {
    return std::ranges::equal(before.sessions, after.sessions, {}, &SessionState::since,
                              &SessionState::since);
  }
  Host& host(int number) { return hosts_.at(static_cast<std::size_t>(number) - 1); }

  std::array<Host, 2> hosts_{Host(1), Host(2)};
};

}  // namespace ocicat::dataplane
