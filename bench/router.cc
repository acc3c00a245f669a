#include "bench/router.h"

#include <fmt/format.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "dataplane/ebpf/objects.h"

namespace ocicat::bench {
namespace {

constexpr const char* kStationMac = "02:00:00:00:00:01";
constexpr const char* kRouterLinkLocal = "fe80::ecee:eeff:feee:eeee";

std::unique_ptr<kernel::NetworkNamespace> new_namespace() {
  auto made = kernel::NetworkNamespace::create();
  if (!made) std::fprintf(stderr, "benchmarks of packets need root: %s\n", made.error().message.c_str());
  CHECK(made);
  return std::make_unique<kernel::NetworkNamespace>(std::move(*made));
}

void run_shell(const std::string& command) {
  const int status = std::system(command.c_str());
  if (status != 0) std::fprintf(stderr, "failed (%d): %s\n", status, command.c_str());
  CHECK(status == 0);
}

std::string interface_of(const std::string& station) {
  return station == "outside" ? "uplink" : "cali" + station;
}

// Of flows at random, one in 3,000 does not come by among eight times as many packets: with twice as many it is one in
// seven, whose state the other arms have pushed out of the processor's caches since their last packet.
Load::Rounds rounds_of(const Flows& flows) {
  constexpr std::uint32_t kWarm = 16'384;
  return {.warm = flows.random ? std::max(kWarm, 8 * flows.count) : kWarm, .round = 4'096, .count = 8};
}

int index_of_interface(const std::string& name) {
  const auto index = ::if_nametoindex(name.c_str());
  CHECK(index != 0);
  return static_cast<int>(index);
}

}  // namespace

Cost cost_of(std::vector<double> rounds) {
  CHECK(!rounds.empty());
  std::ranges::sort(rounds);
  return {rounds.front(), rounds[rounds.size() / 4]};
}

IpAddress address_of_station(const std::string& station, Family family) {
  const bool v4 = family == Family::kIpv4;
  if (station == "a") return *IpAddress::parse(v4 ? "10.65.0.2" : "fd00:65::2");
  if (station == "b") return *IpAddress::parse(v4 ? "10.65.0.3" : "fd00:65::3");
  return *IpAddress::parse(v4 ? "192.0.2.1" : "2001:db8::1");
}

struct Router::Agent {
  explicit Agent(const kernel::NetworkNamespace& host) {
    static std::atomic<int> next = 0;
    options.datapath = dataplane::Datapath::kEbpf;
    options.pin_folder = fmt::format("/sys/fs/bpf/ocicat-bench/{}-{}", ::getpid(), ++next);
    host.run([&] {
      loop =
          std::make_unique<dataplane::DataplaneLoop>(options, inbox, [this](const dataplane::Report& report) {
            const std::scoped_lock lock(mutex);
            last = report;
            reported.notify_all();
          });
    });
  }
  ~Agent() {
    loop.reset();
    CHECK(dataplane::ebpf::remove_objects(options.pin_folder));
  }

  dataplane::Options options;
  Mailbox<HostChanges> inbox;
  std::mutex mutex;
  std::condition_variable reported;
  dataplane::Report last;
  std::uint64_t revision = 0;
  std::unique_ptr<dataplane::DataplaneLoop> loop;
};

Router::Router() : host_(new_namespace()) {
  host_->run([] {
    run_shell(
        "ip link set lo up; sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 "
        "net.ipv4.conf.default.rp_filter=0 net.ipv6.conf.all.disable_ipv6=1 "
        "net.ipv6.conf.default.disable_ipv6=1");
  });
  for (const auto* station : kStations)
    add_station(station, interface_of(station), address_of_station(station));
  host_->run([] { run_shell("ip route add default via 192.0.2.1 dev uplink onlink"); });
}

Router::~Router() = default;

void Router::add_station(const std::string& station, const std::string& interface, const IpAddress& address) {
  auto& made = stations_[station] = {new_namespace(), interface};
  const auto text = address.to_string();
  made.ns->run([&] {
    run_shell(
        fmt::format("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1; ip "
                    "link set lo up;"
                    "ip link add eth0 address {} type veth peer name {} address {} netns {};"
                    "ip addr add {}/32 dev eth0; ip link set eth0 up; ip route add 169.254.1.1 dev eth0;"
                    "ip route add default via 169.254.1.1;"
                    "ip neigh add 169.254.1.1 dev eth0 lladdr {} nud permanent",
                    kStationMac, interface, kRouterMac, host_->path(), text, kRouterMac));
  });
  host_->run([&] {
    run_shell(
        fmt::format("ip link set {0} up; ip neigh add {1} dev {0} lladdr {2} nud permanent;"
                    "ip route add {1} dev {0}",
                    interface, text, kStationMac));
  });
}

void Router::speak_ipv6() const {
  const char* on =
      "sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.all.accept_dad=0 "
      "net.ipv6.conf.default.disable_ipv6=0 net.ipv6.conf.all.disable_ipv6=0";
  host_->run([&] { run_shell(fmt::format("{} net.ipv6.conf.all.forwarding=1", on)); });
  for (const auto* name : kStations) {
    const auto& station = stations_.at(name);
    const auto text = address_of_station(name, Family::kIpv6).to_string();
    station.ns->run([&] {
      run_shell(
          fmt::format("{0}; ip addr add {1}/128 dev eth0 nodad;"
                      "ip -6 neigh add {2} lladdr {3} dev eth0 nud permanent;"
                      "ip -6 route add default via {2} dev eth0",
                      on, text, kRouterLinkLocal, kRouterMac));
    });
    host_->run([&] {
      run_shell(fmt::format(
          "ip -6 neigh add {1} dev {0} lladdr {2} nud permanent; ip -6 route add {1} dev {0} metric 2000",
          station.interface, text, kStationMac));
    });
  }
  host_->run([&] {
    run_shell(fmt::format("ip -6 route add default via {} dev uplink onlink",
                          address_of_station("outside", Family::kIpv6).to_string()));
  });
}

void Router::shell(const std::string& command) const {
  host_->run([&] { run_shell(command); });
}

void Router::enforce(HostChanges changes) {
  if (!agent_) agent_ = std::make_unique<Agent>(*host_);
  const auto wanted = ++agent_->revision;
  changes.revisions[Kind::kPod].revision = wanted;
  agent_->inbox.put(std::move(changes));
  std::unique_lock lock(agent_->mutex);
  const bool came = agent_->reported.wait_for(lock, std::chrono::minutes(2), [&] {
    const auto found = agent_->last.revisions.find(Kind::kPod);
    return agent_->last.error.empty() && found != agent_->last.revisions.end() &&
           found->second.revision >= wanted && agent_->last.endpoints_ready == agent_->last.endpoints;
  });
  if (!came) std::fprintf(stderr, "not in force: %s\n", agent_->last.error.c_str());
  CHECK(came);
}

std::vector<std::uint64_t> Router::counters() const {
  const auto counters = dataplane::ebpf::read_counters(agent_->options.pin_folder);
  CHECK(counters);
  return *counters;
}

const std::filesystem::path& Router::pins() const {
  CHECK(agent_);
  return agent_->options.pin_folder;
}

void Router::rules(const std::string& text) const {
  const auto file = fmt::format("/tmp/ocicat-bench-{}.nft", ::getpid());
  std::ofstream(file) << text;
  shell("nft -f " + file);
  std::filesystem::remove(file);
}

void Router::turn(Load& load, const std::string& from, const Flows& flows, std::uint32_t first, Fate fate,
                  std::vector<double>& rounds, std::uint32_t slow) const {
  const auto& ns = flows.leaves ? at(from) : *host_;
  ns.run([&] {
    stay_on(0);
    const int interface = index_of_interface(flows.leaves ? "eth0" : stations_.at(from).interface);
    load.aim(flows, kRouterMac, first);
    auto wanted = rounds_of(flows);
    wanted.warm /= slow;
    wanted.round /= slow;
    for (const double round : load.timed(interface, wanted, fate)) rounds.push_back(round);
  });
}

std::uint32_t Router::packets_a_turn(const Flows& flows) {
  return rounds_of(flows).packets();
}

void Router::open(Load& load, const std::string& from, const Flows& flows) const {
  host_->run([&] {
    stay_on(0);
    load.aim(flows, kRouterMac);
    load.deliver(index_of_interface(interface_of(from)), flows.count);
  });
}

void Router::count_at(const Load& load, const std::string& station) {
  at(station).run([&] { sinks_.push_back(load.sink_at(index_of_interface("eth0"))); });
}

void Router::tunnel_from(const Load& load, const std::string& station, const std::string& interface,
                         load_tunnel to) {
  host_->run([&] {
    to.interface = static_cast<std::uint32_t>(index_of_interface(interface));
    sinks_.push_back(load.tunnel_from(index_of_interface(stations_.at(station).interface), to));
  });
}

void Router::drop_at(const Load& load, const std::string& station) {
  host_->run([&] { sinks_.push_back(load.sink_at(index_of_interface(stations_.at(station).interface))); });
}

void Router::drop_in_driver(const Load& load, const std::string& station) {
  host_->run(
      [&] { sinks_.push_back(load.drop_in_driver(index_of_interface(stations_.at(station).interface))); });
}

void add_workload(HostChanges& changes, const std::string& station, policy::ProgramId ingress,
                  policy::ProgramId egress, Family family) {
  const auto interface = interface_of(station);
  const auto address = address_of_station(station, family);
  changes.endpoints.update({Kind::kPod, "bench", station},
                           EndpointState{interface, {{address, ingress, egress}}});
  changes.routes.update(Prefix::host(address), {Route::Kind::kInterface, interface, {}});
}

}  // namespace ocicat::bench
