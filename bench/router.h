// A host between workloads and the outside, for benchmarks: network namespaces linked to it alone.
//
//   workloads   "a" and "b" at interfaces calia and calib, 10.65.0.2 and 10.65.0.3
//   outside     at `uplink`, with a route there for everything else
//   IPv6        turned off, or addresses like fd00:65::2 and 2001:db8::1
#pragma once

#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "bench/load.h"
#include "dataplane/dataplane.h"
#include "kernel/network_namespace.h"

namespace ocicat::bench {

inline constexpr const char* kRouterMac = "ee:ee:ee:ee:ee:ee";
inline constexpr std::array kStations{"a", "b", "outside"};

// The least of the rounds, and what a quarter of them were below.
struct Cost {
  double least = 0, quarter = 0;
};
Cost cost_of(std::vector<double> rounds);

class Router {
 public:
  Router();  // forwards, and nothing else
  ~Router();
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  // One more network namespace, with this address, at an interface of the host's. The three are there.
  void add_station(const std::string& station, const std::string& interface, const IpAddress& address);
  // Of IPv6 as well, from here on, all that there are.
  void speak_ipv6() const;
  // Runs a shell command in the host's namespace.
  void shell(const std::string& command) const;
  // Keeps the host to this state with eBPF from here on; the first call starts it. Workloads a and b are
  // added by the caller (workload_at()). Returns once it is in force.
  void enforce(HostChanges changes);
  // Packets by what became of them (bpf/maps/counters.h).
  std::vector<std::uint64_t> counters() const;
  // Where its maps are pinned, once it enforces.
  const std::filesystem::path& pins() const;

  // Has nft read this.
  void rules(const std::string& text) const;

  // A turn of this arm: frames come in from a station (where they leave by its interface there, through the
  // host's driver), enough to bring what they need into the caches, and then in rounds, each short enough that now
  // and then nobody comes between (Load::timed()). What each round took is added to `rounds`, nanoseconds a packet.
  // `slow`: so many times fewer packets.
  using Fate = Load::Fate;
  void turn(Load& load, const std::string& from, const Flows& flows, std::uint32_t first, Fate fate,
            std::vector<double>& rounds, std::uint32_t slow = 1) const;
  // How many packets that takes. Of flows at random, each comes by twice, or more often, before the first round.
  static std::uint32_t packets_a_turn(const Flows& flows);
  // Every flow once.
  void open(Load& load, const std::string& from, const Flows& flows) const;
  const kernel::NetworkNamespace& at(const std::string& station) const { return *stations_.at(station).ns; }
  const kernel::NetworkNamespace& host() const { return *host_; }
  // Counts what arrives at the station from here on.
  void count_at(const Load& load, const std::string& station);
  // Whatever comes in from the station goes by tunnel key, through `interface`, to another host (Load::tunnel_from).
  void tunnel_from(const Load& load, const std::string& station, const std::string& interface,
                   load_tunnel to);
  // Drops what comes in from the station, before anybody else at the host sees it.
  void drop_at(const Load& load, const std::string& station);
  // The same in the interface's driver.
  void drop_in_driver(const Load& load, const std::string& station);

 private:
  struct Agent;
  struct Station {
    std::unique_ptr<kernel::NetworkNamespace> ns;
    std::string interface;  // the host's end
  };
  std::unique_ptr<kernel::NetworkNamespace> host_;
  std::map<std::string, Station> stations_;
  std::vector<UniqueFd> sinks_;
  std::unique_ptr<Agent> agent_;
};

// A workload with these programs, its routes included.
void add_workload(HostChanges& changes, const std::string& station, policy::ProgramId ingress,
                  policy::ProgramId egress, Family family = Family::kIpv4);
IpAddress address_of_station(const std::string& station, Family family = Family::kIpv4);

}  // namespace ocicat::bench
