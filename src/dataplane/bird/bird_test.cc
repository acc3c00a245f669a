// BIRD itself on two hosts, each a network namespace, with the real kernel: what network/bgp/ makes of
// resources.
#include "dataplane/bird/bird.h"

#include <gmock/gmock.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <thread>

#include "base/command.h"
#include "kernel/network_namespace.h"
#include "kernel/routes.h"
#include "network/bgp/bird_configuration.h"
#include "test/support/random.h"

namespace ocicat::dataplane {
namespace {

namespace bgp = network::bgp;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::Key;
using testing::Not;

// Far more than anything here takes; only a failure waits that long.
constexpr std::chrono::seconds kPatience{60};

void eventually(const std::function<bool()>& holds) {
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

bgp::Input cluster(int self) {
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

TEST_F(BirdTest, HostsTellEachOtherOfTheirWorkloadsAndThePreferenceIsTheSameEverywhere) {
  begin();
  EXPECT_EQ(host(1).routes(), (Routes{{"10.65.2.9/32", 1025}, {"fd65::2:9/128", 1025}}));
  host(2).ip("route del 10.65.2.9/32 dev cali1\nroute add 10.65.2.9/32 dev cali1 proto 80 metric 512\n");
  host(2).ip("route del fd65::2:9/128 dev cali1\nroute add fd65::2:9/128 dev cali1 proto 80 metric 512\n");
  // BIRD leaves the route of the other metric beside it.
  eventually([&] {
    EXPECT_TRUE(host(1).look());
    return host(1).routes() == Routes{{"10.65.2.9/32", 512}, {"fd65::2:9/128", 512}};
  });
  host(2).ip("route del 10.65.2.9/32 dev cali1\nroute del fd65::2:9/128 dev cali1\n");
  eventually([&] { return host(1).routes().empty(); });
}

TEST_F(BirdTest, AWorkloadIsWhereItsHostSaysItIsWhateverOthersSay) {
  begin();
  host(1).ip("route append 10.65.2.9/32 dev cali1 proto 80 metric 1024\n");  // as the agent does
  eventually([&] { return !host(1).routes().contains("10.65.2.9/32"); });
  host(1).ip("route del 10.65.2.9/32 dev cali1 proto 80\n");
  eventually([&] { return host(1).routes().contains("10.65.2.9/32"); });
}

// As into a tunnel. IPv6 makes one route of two by gateways that have one metric, and removes both with either.
TEST_F(BirdTest, WhatTheAgentSendsAnotherWayStaysThatWayWhenBirdTakesBackItsOwn) {
  begin();
  const std::vector<std::string> ways{"10.65.2.9 via 10.0.0.77 dev wire0 proto 80 metric 1024",
                                      "fd65::2:9 via fd00::77 dev wire0 proto 80 metric 1024"};
  for (const auto& way : ways) host(1).ip("route append " + way + "\n");
  eventually([&] { return host(1).routes().empty(); });
  const auto ours = host(1).ip_route("show proto 80");
  for (const auto& way : ways) EXPECT_THAT(ours, testing::HasSubstr(way.substr(0, way.find(" proto"))));
}

// The end may be an address of another host's block; what leads into the tunnel others have of their agents.
TEST_F(BirdTest, ThisEndOfATunnelIsToldOfAndNothingThatLeadsIntoTheTunnel) {
  host(2).ip(
      "link add vxlan.calico type veth peer name end0\nlink set vxlan.calico up\nlink set end0 up\n"
      "addr add 10.65.7.1/32 dev vxlan.calico\naddr add fd65::7:1/128 dev vxlan.calico nodad\n"
      "route add 10.65.8.0/26 dev vxlan.calico proto 80 metric 1024\n"
      "route add fd65::8:0/122 dev vxlan.calico proto 80 metric 1024\n");
  begin();
  eventually([&] {
    return host(1).routes().contains("10.65.7.1/32") && host(1).routes().contains("fd65::7:1/128");
  });
  for (const auto* net : {"10.65.8.0/26", "fd65::8:0/122"})
    EXPECT_FALSE(host(1).routes().contains(net)) << net;
}

TEST_F(BirdTest, OneThatIsKilledIsStartedAgainAndNoRouteIsMissingMeanwhile) {
  begin();
  const auto before = host(1).routes();
  const auto others = host(2).routes();
  const auto pid = host(1).look()->pid;
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  eventually([&] {
    EXPECT_THAT(host(1).routes(), IsSupersetOf(before));
    EXPECT_THAT(host(2).routes(), IsSupersetOf(others));
    const auto status = host(1).look();
    return status && status->pid != pid && host(1).all_established() && host(2).all_established();
  });
  EXPECT_EQ(host(1).routes(), before);
  EXPECT_EQ(host(2).routes(), others);
  EXPECT_EQ(host(1).bird().starts(), 2U);
}

TEST_F(BirdTest, WhatADeadOneHasLeftGoesAlsoWhereAnotherAgentFindsItsSuccessor) {
  begin();
  const auto before = host(1).routes();
  const auto pid = host(1).look()->pid;
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  host(1).leave_routes();
  eventually([&] {
    const auto status = host(1).look();
    return status && status->pid != pid;
  });
  ASSERT_TRUE(host(1).look()->recovering);
  host(1).forget();
  EXPECT_TRUE(host(1).look()->recovering);
  EXPECT_TRUE(host(1).has_left_routes());
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  eventually([&] { return host(1).all_established() && !host(1).has_left_routes(); });
  EXPECT_EQ(host(1).bird().starts(), 0U);
  EXPECT_EQ(host(1).routes(), before);
}

TEST_F(BirdTest, WhatADeadOneHasLeftGoesAlsoWhereItsSuccessorIsSlowToStart) {
  host(1).forget(host(1).program_behind_gate());
  std::ofstream(host(1).gate()).close();
  begin();
  const auto before = host(1).routes();
  ASSERT_EQ(::kill(host(1).look()->pid, SIGKILL), 0);
  host(1).leave_routes();
  std::filesystem::remove(host(1).gate());
  EXPECT_EQ(host(1).look().error().code, ErrorCode::kUnavailable);
  std::ofstream(host(1).gate()).close();
  eventually([&] { return BirdControl::connect(host(1).folder() / "bird.ctl").has_value(); });
  eventually([&] { return host(1).all_established() && !host(1).has_left_routes(); });
  EXPECT_EQ(host(1).bird().starts(), 2U);
  EXPECT_EQ(host(1).routes(), before);
}

// A neighbour without graceful restart says nowhere that it has said everything; here it says nothing for a while.
TEST_F(BirdTest, WhereANeighbourThatSaysNoEndHasLedPacketsTheyGoUntilItHasSpoken) {
  auto plain = configuration(2, cluster(2));
  for (std::size_t at = 0; (at = plain.find("graceful restart on;", at)) != std::string::npos; at += 21)
    plain.replace(at, 20, "graceful restart off;");
  auto mute = plain;
  for (std::size_t at = 0; (at = mute.find("export filter { export", at)) != std::string::npos; at += 24)
    mute.insert(at + 15, " reject;");
  ASSERT_NE(mute, plain);
  const auto is_told = [&] {
    return host(1).routes().contains("10.65.2.9/32") && host(1).routes().contains("fd65::2:9/128");
  };
  const auto kill = [&] {
    const auto pid = host(1).look()->pid;
    ASSERT_EQ(::kill(pid, SIGKILL), 0);
    ASSERT_TRUE(host(2).apply(mute));
    eventually([&] { return host(1).look().has_value(); });
    // Its routes go when the session is up, not when it says the same again.
    eventually([&] { return host(1).all_established() && host(1).routes().empty(); });
  };
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  ASSERT_TRUE(host(2).apply(plain));
  eventually([&] { return host(1).all_established() && is_told(); });
  EXPECT_EQ(host(1).copies(), "");

  kill();
  EXPECT_THAT(host(1).copies(), HasSubstr("10.65.2.9 via 10.0.0.2 dev wire0"));
  EXPECT_THAT(host(1).copies(), HasSubstr("fd65::2:9 via fd00::2 dev wire0"));
  ASSERT_TRUE(host(2).apply(plain));
  eventually([&] { return host(1).all_established() && is_told() && host(1).copies().empty(); });

  kill();
  EXPECT_THAT(host(1).copies(), HasSubstr("10.65.2.9 via 10.0.0.2 dev wire0"));
  host(1).forget();  // another agent goes on
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  eventually([&] { return host(1).all_established() && host(1).copies().empty(); });
  EXPECT_EQ(host(1).routes(), Routes()) << "it has never been told again";

  ASSERT_TRUE(host(2).apply(plain));
  eventually([&] { return is_told(); });
  auto input = cluster(2);
  input.blocks = {{*Prefix::parse("10.65.2.0/26"), "host2", true}};
  ASSERT_EQ(::kill(host(1).look()->pid, SIGKILL), 0);
  ASSERT_TRUE(host(2).apply(configuration(2, input)));
  eventually([&] {
    const auto recovered = host(1).all_established();
    const bool has_net = host(1).routes().contains("10.65.2.0/26");
    if (recovered && has_net) {
      EXPECT_TRUE(host(1).look());
      EXPECT_THAT(host(1).copies(), Not(HasSubstr("10.65.2.9"))) << "it has the net around it";
    }
    return recovered && has_net;
  });
}

// What the kernel has is compared once there is a configuration of the agent's own.
TEST_F(BirdTest, ALookOfAnAgentThatHasAppliedNothingYetChangesNoRoute) {
  begin();
  host(1).leave_routes();
  host(1).forget();
  ASSERT_TRUE(host(1).look());
  EXPECT_TRUE(host(1).has_left_routes());
}

// Nothing in the kernel of a host that only tells is BIRD's.
TEST_F(BirdTest, NeighboursKeepTheRoutesToAHostThatLearnsNoneWhileItsBirdIsStartedAgain) {
  host(2).ip("route del 10.65.2.9/32 dev cali1\nroute del fd65::2:9/128 dev cali1\n");
  for (const int self : {1, 2}) ASSERT_TRUE(host(self).apply(configuration(self, cluster(self))));
  eventually([&] { return host(1).all_established() && host(2).all_established(); });
  const Routes told{{"10.65.1.9/32", 1025}, {"fd65::1:9/128", 1025}};
  eventually([&] { return host(2).routes() == told; });
  ASSERT_TRUE(host(1).routes().empty());
  std::optional<kernel::RouteMonitor> monitor;
  host(2).network().run([&] { monitor.emplace(kernel::RouteMonitor::open(0).value()); });
  for (const bool agent_too : {false, true}) {
    const auto pid = host(1).look()->pid;
    ASSERT_EQ(::kill(pid, SIGKILL), 0);
    if (agent_too) {
      host(1).forget();
      eventually([&] { return host(1).apply(configuration(1, cluster(1))).has_value(); });
    }
    eventually([&] {
      const auto status = host(1).look();
      return status && status->pid != pid && host(1).all_established() && host(2).all_established();
    });
    EXPECT_EQ(host(2).routes(), told);
    EXPECT_THAT(monitor->read(0)->vacated, testing::IsEmpty());
  }
}

TEST_F(BirdTest, TheFirstOneWaitsForNobodyAndItsSuccessorDoesUntilItIsRemoved) {
  // As an agent without BIRD leaves it.
  host(1).ip("route add blackhole 10.65.1.0/26 proto 80 metric 1024\n");
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  EXPECT_FALSE(host(1).look()->recovering);
  const auto pid = host(1).look()->pid;
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  eventually([&] {
    const auto status = host(1).look();
    return status && status->pid != pid;
  });
  EXPECT_TRUE(host(1).look()->recovering);
  host(1).network().run([&] { EXPECT_EQ(Bird::remove(host(1).folder()), Result<bool>(true)); });
  host(1).forget();
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  EXPECT_FALSE(host(1).look()->recovering);
}

// As of a socket of the agent's: whoever waits for its end would wait as long as BIRD runs.
TEST_F(BirdTest, HoldsNothingOpenThatTheAgentCloses) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  begin();
  ::close(ends[1]);
  pollfd end{.fd = ends[0], .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&end, 1, 1000), 1);
  EXPECT_TRUE(end.revents & POLLHUP);
  ::close(ends[0]);
}

TEST_F(BirdTest, OneThatRunsIsTakenOverAsItIs) {
  begin();
  const auto before = *host(1).look();
  host(1).forget();
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  const auto after = *host(1).look();
  EXPECT_EQ(after.pid, before.pid);
  for (std::size_t i = 0; i < before.sessions.size(); ++i)
    EXPECT_EQ(after.sessions[i].since, before.sessions[i].since);
  EXPECT_EQ(host(1).bird().starts(), 0U);
}

TEST_F(BirdTest, ABlockTakesThePlaceOfItsAddressesAndNoSessionIsTouched) {
  begin();
  const auto before = *host(2).look();
  auto input = cluster(1);
  input.blocks = {{*Prefix::parse("10.65.1.0/26"), "host1", true},
                  {*Prefix::parse("10.65.1.64/26"), "host1", false}};
  ASSERT_TRUE(host(1).apply(configuration(1, input)));
  eventually([&] {
    return host(2).routes().contains("10.65.1.0/26") && !host(2).routes().contains("10.65.1.9/32");
  });
  EXPECT_THAT(host(2).routes(), Not(Contains(Key("10.65.1.64/26"))));
  EXPECT_EQ(host(1).blackholes(), "") << "these are the agent's";
  host(1).ip("route del 10.65.1.9/32 dev cali1\nroute add 10.65.1.9/32 dev cali1 proto 80 metric 512\n");
  eventually([&] { return host(2).routes().contains("10.65.1.9/32"); });
  const auto after = *host(2).look();
  for (std::size_t i = 0; i < before.sessions.size(); ++i)
    EXPECT_EQ(after.sessions[i].since, before.sessions[i].since);
}

// --- filters that change while BIRD runs

TEST_F(BirdTest, OnlyWhatPassesOtherFiltersIsToldAgain) {
  begin();
  const auto before = *host(1).look();
  auto input = cluster(1);
  input.blocks = {{*Prefix::parse("10.65.1.0/26"), "host1", true}};
  ASSERT_TRUE(host(1).apply(configuration(1, input)));
  EXPECT_THAT(host(1).reloaded(), ElementsAre("Mesh_10_0_0_2"));
  // Another agent knows what the BIRD that it finds has read.
  host(1).forget();
  ASSERT_TRUE(host(1).apply(configuration(1, input)));
  EXPECT_THAT(host(1).reloaded(), ElementsAre("Mesh_10_0_0_2"));
  host(1).forget();
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  EXPECT_THAT(host(1).reloaded(), ElementsAre("Mesh_10_0_0_2", "Mesh_10_0_0_2"));
  eventually([&] { return host(2).routes().contains("10.65.1.9/32"); });
  EXPECT_TRUE(same_sessions(before, *host(1).look()));
}

// As an agent leaves it that ends between the two, or one that knows nothing of this.
TEST_F(BirdTest, WhatABirdWithAnUnknownPastHasLetPassIsPassedAgain) {
  begin();
  const auto before = *host(1).look();
  auto input = cluster(1);
  input.blocks = {{*Prefix::parse("10.65.1.0/26"), "host1", true}};
  const auto file = host(1).folder() / "bird.conf";
  std::ofstream(file) << configuration(1, input);
  std::filesystem::remove(host(1).folder() / "bird.conf.in-force");
  ASSERT_TRUE(BirdControl::connect(host(1).folder() / "bird.ctl")->ask("configure soft"));
  host(1).forget();
  std::optional<kernel::RouteMonitor> monitor;
  host(1).network().run([&] { monitor.emplace(kernel::RouteMonitor::open(0).value()); });
  ASSERT_TRUE(host(1).apply(configuration(1, input)));
  eventually([&] { return !host(2).routes().contains("10.65.1.9/32"); });
  EXPECT_TRUE(same_sessions(before, *host(1).look()));
  EXPECT_THAT(monitor->read(0)->vacated, testing::IsEmpty()) << "what the kernel has stays meanwhile";
}

TEST_F(BirdTest, ANeighbourThatCannotSayItsRoutesAgainIsAskedInANewSession) {
  auto deaf = configuration(2, cluster(2));
  for (std::size_t at = 0; (at = deaf.find("  graceful restart on;", at)) != std::string::npos; at += 30)
    deaf.insert(at, "  enable route refresh no;\n");
  ASSERT_TRUE(host(1).apply(configuration(1, cluster(1))));
  ASSERT_TRUE(host(2).apply(deaf));
  eventually([&] { return host(1).routes().contains("10.65.2.9/32"); });
  auto refusing = configuration(1, cluster(1));
  const auto from = refusing.find("{ accept; }", refusing.find("protocol bgp Mesh_10_0_0_2"));
  ASSERT_NE(from, std::string::npos);
  refusing.replace(from, 11, "{ if net = 10.65.2.9/32 then reject; accept; }");
  ASSERT_TRUE(host(1).apply(refusing));
  eventually([&] { return host(1).all_established() && !host(1).routes().contains("10.65.2.9/32"); });
  EXPECT_TRUE(host(1).routes().contains("fd65::2:9/128"));
}

TEST_F(BirdTest, FiltersThatChangeWhileRoutesAreKeptForNeighboursCountOnceTheseHaveSpoken) {
  begin();
  const auto before = host(1).routes();
  const auto others = host(2).routes();
  const auto pid = host(1).look()->pid;
  ASSERT_EQ(::kill(pid, SIGKILL), 0);
  eventually([&] {
    const auto status = host(1).look();
    return status && status->pid != pid;
  });
  ASSERT_TRUE(host(1).look()->recovering);
  auto input = cluster(1);
  input.blocks = {{*Prefix::parse("10.65.1.0/26"), "host1", true}};
  ASSERT_TRUE(host(1).apply(configuration(1, input)));
  EXPECT_TRUE(host(1).look()->recovering);
  eventually([&] {
    EXPECT_THAT(host(1).routes(), IsSupersetOf(before));
    EXPECT_TRUE(host(2).routes().contains("10.65.1.9/32") || host(2).routes().contains("10.65.1.0/26"));
    return host(1).all_established() && host(2).routes().contains("10.65.1.0/26") &&
           !host(2).routes().contains("10.65.1.9/32");
  });
}

// What host 1 makes of resources, any of them, while host 2 and what both have in their kernels stay.
class RandomResources {
 public:
  explicit RandomResources(std::uint64_t seed) : random_(seed) {}

  bgp::Input make() {
    auto input = cluster(1);
    for (const auto* cidr : {"10.66.0.0/16", "fd66::/48"}) input.pools[cidr].cidr = *Prefix::parse(cidr);
    for (auto& [name, pool] : input.pools) {
      pool.exported = random_.percent(80);
      if (random_.percent(30)) pool.vxlan = IpPool::Encapsulation::kAlways;
    }
    for (const auto* block :
         {"10.65.1.0/26", "10.65.1.64/26", "10.66.1.0/26", "fd65::1:0/122", "fd66::1:0/122"}) {
      if (random_.percent(40)) input.blocks.push_back({*Prefix::parse(block), "host1", random_.percent(70)});
    }
    for (const auto* name : {"a", "b"}) {
      if (random_.percent(60)) input.filters[name] = filter(name);
    }
    for (const auto* address : {"10.0.0.2", "fd00::2"}) {
      auto& peer = input.peers[address];
      peer.metadata.name = address;
      peer.address = IpAddress::parse(address);
      peer.as_number = bgp::kDefaultAsNumber;
      for (const auto& [name, filter] : input.filters) {
        if (random_.percent(60)) peer.filters.push_back(name);
      }
      if (random_.percent(30)) peer.next_hop = BgpPeer::NextHop::kSelf;
      if (random_.percent(15)) peer.keepalive_time = std::chrono::seconds(31);  // another session
    }
    auto& settings = input.configurations["default"];
    if (random_.percent(40))
      settings.advertisements = {{*Prefix::parse("10.65.0.0/16"), {*Community::parse("65000:1")}}};
    if (random_.percent(30)) settings.service_cluster_nets = {*Prefix::parse("10.66.2.0/24")};
    return input;
  }

 private:
  BgpFilterRule rule(Family family, bool exports) {
    BgpFilterRule made;
    made.accept = random_.percent(60);
    made.match = BgpFilterRule::Match::kIn;
    const std::string nets = family == Family::kIpv4 ? "10.6{}.{}.0/25" : "fd6{}::{}:0/112";
    made.cidr = *Prefix::parse(fmt::format(fmt::runtime(nets), 5 + random_.below(2), exports ? 1 : 2));
    if (!made.accept) return made;
    if (random_.percent(40))
      made.operations.emplace_back(BgpFilterRule::AddCommunity{*Community::parse("65000:7")});
    if (random_.percent(40)) made.operations.emplace_back(BgpFilterRule::SetPriority{700});
    return made;
  }
  BgpFilter filter(const std::string& name) {
    BgpFilter made;
    made.metadata.name = name;
    for (const auto family : kFamilies) {
      const std::size_t i = family == Family::kIpv4 ? 0 : 1;
      for (auto n = random_.below(3); n > 0; --n) made.export_rules[i].push_back(rule(family, true));
      for (auto n = random_.below(3); n > 0; --n) made.import_rules[i].push_back(rule(family, false));
    }
    return made;
  }

  test::Random random_;
};

TEST_F(BirdTest, RoutesAfterAChangeAreThoseOfABirdThatHasBegunWithIt) {
  const auto seed = test::any_seed();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  for (const int n : {1, 2}) {
    host(n).ip(
        fmt::format("route add 10.65.{0}.70/32 dev cali1 proto 80 metric 512\n"
                    "route add 10.66.{0}.9/32 dev cali1 proto 80 metric 1024\n"
                    "route add fd66::{0}:9/128 dev cali1 proto 80 metric 1024\n",
                    n));
  }
  ASSERT_TRUE(host(2).apply(configuration(2, cluster(2))));
  struct Case {
    std::string configuration;
    std::string routes;
  };
  std::vector<Case> cases;
  RandomResources resources(seed);
  for (int i = 0; i < 5; ++i) {
    host(1).network().run([&] { EXPECT_TRUE(Bird::remove(host(1).folder())); });
    host(1).forget();
    auto& begun = cases.emplace_back(configuration(1, resources.make()), "");
    ASSERT_TRUE(host(1).apply(begun.configuration));
    eventually([&] { return host(1).all_established() && host(2).all_established(); });
    // What there is to hear has been heard when nothing more comes for a second.
    int same = 0;
    eventually([&] {
      for (const int self : {1, 2}) EXPECT_TRUE(host(self).look());
      same = begun.routes == all_routes() ? same + 1 : 0;
      begun.routes = all_routes();
      return same == 50;
    });
  }
  test::Random random(seed);
  for (int i = 0; i < 25; ++i) {
    const auto& next = random.pick(cases);
    if (random.percent(20)) host(1).forget();
    ASSERT_TRUE(host(1).apply(next.configuration));
    if (random.percent(20)) continue;  // the next comes at once
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (all_routes() != next.routes) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << "step " << i << "\nit has\n"
                                                            << all_routes() << "\nand begins with\n"
                                                            << next.routes << "\nby\n"
                                                            << next.configuration;
      for (const int self : {1, 2}) ASSERT_TRUE(host(self).look());
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

TEST_F(BirdTest, AConfigurationThatIsRefusedLeavesTheLastOneInForce) {
  begin();
  const auto refused = host(1).apply("this is no configuration;\n");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("the last configuration stays"));
  EXPECT_TRUE(host(1).all_established());
  ASSERT_EQ(::kill(host(1).look()->pid, SIGKILL), 0);
  eventually([&] { return host(1).all_established(); });
}

TEST_F(BirdTest, WhatIsRemovedTakesItsRoutesAlong) {
  begin();
  eventually([&] { return !host(1).routes().empty(); });
  host(1).ip("route add 10.65.77.7/32 via 10.0.0.2 proto 81 metric 4000000001\n");
  host(1).network().run([&] { EXPECT_EQ(Bird::remove(host(1).folder()), Result<bool>(true)); });
  EXPECT_TRUE(host(1).routes().empty());
  EXPECT_EQ(host(1).copies(), "");
  EXPECT_EQ(BirdControl::connect(host(1).folder() / "bird.ctl").error().code, ErrorCode::kNotFound);
  host(1).network().run([&] { EXPECT_EQ(Bird::remove(host(1).folder()), Result<bool>(false)); });
}

TEST(Bird, ThatIsNotInstalledIsNamedWithTheNextStep) {
  const auto found = Bird::find({.folder = "/tmp/ocicat-no-bird", .program = "no-such-bird"});
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(found.error().message, HasSubstr("apt-get install bird2"));
}

}  // namespace
}  // namespace ocicat::dataplane
