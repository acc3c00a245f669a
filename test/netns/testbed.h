// A host with workloads and an outside world, each a network namespace, for tests with real packets.
//
//   host      forwards; workloads at interfaces cali…, the outside at `uplink`
//   pods      one address of each family, default routes through the host, as a CNI plugin sets them up
//   outside   sends with any source address and answers nothing
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/unique_fd.h"
#include "kernel/network_namespace.h"
#include "netns/packets.h"

namespace ocicat::test {

// Runs a shell command in the calling thread's namespace; aborts the test where it fails.
void shell(const std::string& command);
// Of a packet that no test has numbered.
std::uint32_t new_token();

class Station {
 public:
  Station(std::string name, IpAddress v4, IpAddress v6);

  const std::string& interface() const { return interface_; }  // the host's side
  const IpAddress& address(Family family) const { return family == Family::kIpv4 ? v4_ : v6_; }
  const kernel::NetworkNamespace& ns() const { return ns_; }

  // From a thread inside. In order, all on one processor.
  void send(const std::vector<RawPacket>& packets) const;
  // The same, whole IP packets past the station's own rules, which keep it from answering.
  using Bytes = std::vector<std::uint8_t>;
  void send_past_rules(const std::vector<Bytes>& packets) const;
  // Tokens of packets that have arrived at the station's interface since the last call.
  std::set<std::uint32_t> received() const;
  // Waits for the packet.
  void await(std::uint32_t token, std::set<std::uint32_t>& seen) const;

 private:
  friend class Testbed;
  std::string interface_;
  IpAddress v4_, v6_;
  kernel::NetworkNamespace ns_;
  UniqueFd sniffer_;
};

class Testbed {
 public:
  Testbed();
  Testbed(const Testbed&) = delete;
  Testbed& operator=(const Testbed&) = delete;

  // At the host's interface cali`name`. The host has routes to it unless somebody else shall make them.
  enum class Routes { kMade, kMissing };
  Station& add_pod(const std::string& name, const std::string& v4, const std::string& v6,
                   Routes routes = Routes::kMade);
  Station& outside() { return *stations_.front(); }
  const kernel::NetworkNamespace& host() const { return host_; }
  // Its own, at `uplink`.
  static IpAddress host_address(Family family);

  // Keeps the kernels from saying what IPv6 says by itself when a link comes up, some of it a second later:
  // listener reports and solicitations of routers. For tests that count packets. Leaves a table of its own.
  void silence_ipv6() const;
  // What a counter of the host's table of this name (family inet) has counted since the last call.
  int counted_by(const std::string& table, const std::string& counter) const;
  // From the host itself, in order, all on one processor.
  void send_of_host(const std::vector<RawPacket>& packets) const;
  // Forgets all connections.
  void forget_connections() const;
  // Which of the packets, sent at `from`, arrive at `to`. No waiting for what does not come: a packet that is
  // known to pass, sent after them on the same way, tells when all have arrived that will.
  std::set<std::uint32_t> arriving(const Station& from, const Station& to,
                                   const std::vector<RawPacket>& packets) const;
  // All that arrives at `to` of what is sent meanwhile.
  std::set<std::uint32_t> arriving(const Station& to, const std::function<void()>& send) const;
  // The same for packets that the host itself sends outside. `sure` sends what is known to pass.
  std::set<std::uint32_t> leaving_host(const Station& sure, const std::vector<RawPacket>& packets) const;

 private:
  Station& add_station(const std::string& interface, const std::string& v4, const std::string& v6);

  kernel::NetworkNamespace host_;
  std::vector<std::unique_ptr<Station>> stations_;
};

}  // namespace ocicat::test
